"""The live feed of all orders, for staff."""

from typing import Any

import pytest

from tests.web.world import STAFF, World
from tests.web.ws.live import Lives
from ultramarket.messages.order import CancelOrder, PlaceOrder
from web.ws import feed


async def place(world: World, cart: Any, number: int) -> str:
    id = f"order-{number}"
    order = PlaceOrder(cart=cart["id"], cart_version=99, number=str(number), gateway="sandbox", method="ok")
    await world.actors.ask("order", id, order)
    return id


async def test_staff_follow_every_order_and_go_on_from_a_position(world: World, live: Lives, cart: Any) -> None:
    staff = await live(**STAFF)
    assert (await staff.ask(type="subscribe", topic="orders"))["position"] == ".".join("0" * 16)
    first = await place(world, cart, 1)  # of a cart version that is not: it begins and is rejected
    frames = [await staff.next() for _ in range(2)]
    assert [(frame["order"], frame["version"], frame["event"]) for frame in frames] == [
        (first, 1, "OrderStarted"),
        (first, 2, "OrderRejected"),
    ]
    await staff.ws.close()
    others = [await place(world, cart, number) for number in range(2, 12)]
    again = await live(**STAFF)
    await again.ask(type="subscribe", topic="orders", after=frames[0]["position"])
    later = [await place(world, cart, number) for number in range(12, 15)]
    seen = [await again.next() for _ in range(1 + 2 * 13)]
    told = [(frame["order"], frame["version"]) for frame in seen]
    assert sorted(told) == sorted([(first, 2), *((id, version) for id in (*others, *later) for version in (1, 2))])
    for id in (*others, *later):
        assert told.index((id, 1)) < told.index((id, 2))
    last = await live(**STAFF)
    await last.ask(type="subscribe", topic="orders", after=seen[-1]["position"])
    await world.actors.ask("order", await place(world, cart, 20), CancelOrder())
    assert (await last.next())["order"] == "order-20"


async def test_the_feed_of_orders_is_for_staff(live: Lives) -> None:
    guest = await live()
    assert (await guest.ask(type="subscribe", topic="orders"))["code"] == "credentials_required"


@pytest.mark.parametrize(
    ("after", "code"),
    [
        ("", "malformed_position"),
        ("0.0", "malformed_position"),
        (".".join("x" * 16), "malformed_position"),
        (3, "invalid"),
        (".".join("1" * 16), "after_ahead"),
    ],
)
async def test_a_position_that_can_not_be_is_refused(live: Lives, after: Any, code: str) -> None:
    staff = await live(**STAFF)
    answer = await staff.ask(type="subscribe", topic="orders", after=after)
    assert (answer["type"], answer["code"], answer["topic"]) == ("error", code, "orders")


def test_a_position_is_read_as_it_was_written() -> None:
    at = {no: no * 1000 for no in range(16)}
    assert feed.read_position(feed.write_position(at)) == at
