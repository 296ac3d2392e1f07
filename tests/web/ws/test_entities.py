"""Live carts and orders: version by version, after a reconnect, and what is not told."""

import asyncio
from typing import Any

import pytest

from tests.web.world import World
from tests.web.ws.live import Lives, change
from ultramarket.messages.order import PlaceOrder
from web.ws.hub import Hub


async def test_a_cart_is_told_from_its_first_version_on_and_then_live(world: World, live: Lives, cart: Any) -> None:
    ada = await live()
    topic = f"cart:{cart['id']}"
    assert await ada.ask(type="subscribe", topic=topic, after=0) == {
        "type": "subscribed",
        "topic": topic,
        "version": 0,
    }
    assert await ada.versions(3) == [(1, "CartCreated"), (2, "LineAdded"), (3, "CartPatched")]
    await change(world, cart, 5)
    event = await ada.next()
    assert (event["type"], event["topic"], event["version"], event["event"]) == ("event", topic, 4, "LineChanged")
    assert event["at"] == "2026-03-01T12:00:00Z"
    assert event["data"] == {
        "line": {
            "id": cart["lines"][0]["id"],
            "sku": "TOTE",
            "product": "product-TOTE",
            "title": {"en": "Tote TOTE", "de": "Tasche TOTE"},
            "variant_title": {},
            "quantity": 5,
            "unit_price": {"amount": "12.90", "currency": "USD"},
        }
    }


async def test_without_a_version_a_cart_is_told_from_now_on(world: World, live: Lives, cart: Any) -> None:
    ada = await live()
    topic = f"cart:{cart['id']}"
    assert (await ada.ask(type="subscribe", topic=topic))["version"] == 3
    await change(world, cart, 7)
    assert await ada.versions(1) == [(4, "LineChanged")]


async def test_after_a_reconnect_a_cart_goes_on_without_a_gap_or_a_repeat(world: World, live: Lives, cart: Any) -> None:
    topic = f"cart:{cart['id']}"
    ada = await live()
    await ada.ask(type="subscribe", topic=topic, after=3)
    await change(world, cart, 3)
    assert await ada.versions(1) == [(4, "LineChanged")]
    await ada.ws.close()
    await change(world, cart, 4)
    await change(world, cart, 5)
    ada = await live()
    await ada.ask(type="subscribe", topic=topic, after=4)
    await change(world, cart, 6)
    assert [version for version, _ in await ada.versions(3)] == [5, 6, 7]


async def test_events_while_a_client_catches_up_come_once_and_in_order(
    world: World, live: Lives, cart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = world.actors.log
    read, going, go = log.history, asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any) -> Any:
        found = await read(*args)
        going.set()
        await go.wait()
        return found

    monkeypatch.setattr(log, "history", slowly)
    ada = await live()
    await ada.ask(type="subscribe", topic=f"cart:{cart['id']}", after=0)
    await going.wait()
    for quantity in (3, 4, 5):  # committed and heard of, while what was read before is not yet told
        await change(world, cart, quantity)
    seen = log.reads
    while log.reads == seen:  # noqa: ASYNC110 - until the tailer has told of them
        await asyncio.sleep(0.01)
    go.set()
    assert [version for version, _ in await ada.versions(6)] == [1, 2, 3, 4, 5, 6]
    await change(world, cart, 6)
    assert await ada.versions(1) == [(7, "LineChanged")]


async def test_personal_values_are_not_told(live: Lives, cart: Any) -> None:
    ada = await live()
    await ada.ask(type="subscribe", topic=f"cart:{cart['id']}", after=2)
    event = await ada.next()
    assert (event["event"], event["data"]) == (
        "CartPatched",
        {"fields": ["email", "shipping_address", "shipping_method"]},
    )


async def test_an_order_is_told_with_internal_steps_as_changed(world: World, live: Lives, cart: Any) -> None:
    place = PlaceOrder(cart=cart["id"], cart_version=3, number="100001", gateway="sandbox", method="ok")
    with world.actors.pausing():
        await world.actors.ask("order", "o" * 40, place)
        ada = await live()
        await ada.ask(type="subscribe", topic=f"order:{'o' * 40}", after=0)
        assert await ada.versions(1) == [(1, "OrderStarted")]
    frames = [await ada.next() for _ in range(8)]
    assert [(frame["version"], frame["event"]) for frame in frames] == [
        (2, "OrderFilled"),
        (3, "Changed"),
        (4, "Changed"),
        (5, "Changed"),
        (6, "PaymentStarted"),
        (7, "OrderAuthorised"),
        (8, "Changed"),
        (9, "Changed"),
    ]
    assert "data" not in frames[1]
    assert frames[0]["data"]["totals"]["total"] == {"amount": "25.80", "currency": "USD"}
    assert frames[5]["data"] == {}
    assert (await ada.next())["event"] == "OrderPaid"


async def test_two_who_follow_a_cart_are_told_the_same(world: World, live: Lives, cart: Any) -> None:
    ada, bob = await live(), await live()
    for each in (ada, bob):
        await each.ask(type="subscribe", topic=f"cart:{cart['id']}")
    await change(world, cart, 9)
    assert await ada.next() == await bob.next()


async def test_a_version_that_the_cart_has_not_reached_is_refused(live: Lives, cart: Any) -> None:
    ada = await live()
    answer = await ada.ask(type="subscribe", topic=f"cart:{cart['id']}", after=4)
    assert (answer["type"], answer["code"], answer["detail"]) == ("error", "after_ahead", "The cart is at version 3.")


async def test_what_the_log_has_no_more_ends_the_subscription_with_a_reason(
    world: World, live: Lives, cart: Any
) -> None:
    world.actors.log.archive("cart")
    ada = await live()
    topic = f"cart:{cart['id']}"
    await ada.ask(type="subscribe", topic=topic, after=1)
    gone = await ada.next()
    assert (gone["type"], gone["code"], gone["topic"]) == ("error", "history_gone", topic)
    assert (await ada.ask(type="subscribe", topic=topic, after=3))["type"] == "subscribed"
    await change(world, cart, 8)
    assert await ada.versions(1) == [(4, "LineChanged")]


async def test_a_log_that_is_away_for_a_while_delays_and_loses_nothing(world: World, live: Lives, cart: Any) -> None:
    ada = await live()
    await ada.ask(type="subscribe", topic=f"cart:{cart['id']}")
    world.actors.log.away = True
    await change(world, cart, 4)
    await change(world, cart, 5)
    answer = await ada.ask(type="subscribe", topic="orders:x")
    assert answer["code"] == "topic_unknown"
    world.actors.log.away = False
    assert [version for version, _ in await ada.versions(2)] == [4, 5]


async def test_after_unsubscribing_nothing_more_is_told(world: World, live: Lives, cart: Any, hub: Hub) -> None:
    ada = await live()
    topic = f"cart:{cart['id']}"
    await ada.ask(type="subscribe", topic=topic)
    assert await ada.ask(type="unsubscribe", topic=topic) == {"type": "unsubscribed", "topic": topic}
    assert hub.subscriptions == 0
    await change(world, cart, 4)
    assert (await ada.ask(type="subscribe", topic=topic, after=3))["type"] == "subscribed"
    assert await ada.versions(1) == [(4, "LineChanged")]
