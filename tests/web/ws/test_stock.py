"""Live stock: the newest state, a few times a second, for those who may see it."""

import asyncio
from typing import Any

import pytest

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, World
from tests.web.ws.live import Lives
from ultramarket.domain.money import Money
from ultramarket.messages.inventory import AdjustStock
from ultramarket.messages.product import ChangeProduct, Variant
from web.ws import stock


async def test_stock_is_told_as_it_is_and_then_as_it_changes(world: World, live: Lives) -> None:
    await world.product()
    ada = await live()
    assert await ada.ask(type="subscribe", topic="inventory:TOTE") == {
        "type": "subscribed",
        "topic": "inventory:TOTE",
        "version": 1,
    }
    event = await ada.next()
    assert event == {
        "type": "event",
        "topic": "inventory:TOTE",
        "version": 1,
        "event": "StockChanged",
        "data": {"on_hand": 10, "held": 0, "available": 10, "version": 1},
        "at": "2026-03-01T12:00:00Z",
    }
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=-3, reason="sold"))
    event = await ada.next()
    assert event["data"] == {"on_hand": 7, "held": 0, "available": 7, "version": 2}


async def test_who_has_the_newest_stock_is_told_of_the_next_change_only(world: World, live: Lives) -> None:
    await world.product()
    ada = await live()
    await ada.ask(type="subscribe", topic="inventory:TOTE", after=1)
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
    assert (await ada.next())["version"] == 2


async def test_many_changes_of_stock_are_told_as_few(
    world: World, live: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "PAUSE_SECONDS", 0.05)
    await world.product()
    ada, bob = await live(), await live()
    for each in (ada, bob):
        await each.ask(type="subscribe", topic="inventory:TOTE", after=1)
    told: list[int] = []
    for _ in range(100):
        await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
        await asyncio.sleep(0)
    while not told or told[-1] < 101:
        told.append((await ada.next())["version"])
    assert len(told) <= 5
    assert told == sorted(set(told))
    last = await bob.next()
    while last["version"] < 101:
        last = await bob.next()
    assert last["data"]["on_hand"] == 110


async def test_stock_of_an_unpublished_product_is_for_staff(world: World, live: Lives) -> None:
    await world.product(status="draft")
    guest, staff = await live(), await live(**STAFF)
    refused = await guest.ask(type="subscribe", topic="inventory:TOTE")
    assert (refused["code"], refused["topic"]) == ("not_found", "inventory:TOTE")
    assert (await staff.ask(type="subscribe", topic="inventory:TOTE"))["type"] == "subscribed"


async def test_when_a_product_is_unpublished_guests_are_told_no_more_and_staff_are(world: World, live: Lives) -> None:
    product = await world.product()
    guest, staff = await live(), await live(**STAFF)
    for each in (guest, staff):
        await each.ask(type="subscribe", topic="inventory:TOTE", after=1)
    await world.actors.ask("product", product, ChangeProduct(status="draft"))
    ended = await guest.next()
    assert (ended["type"], ended["code"], ended["topic"]) == ("error", "not_found", "inventory:TOTE")
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
    assert (await staff.next())["version"] == 2
    assert (await guest.ask(type="ping"))["type"] == "pong"


async def test_another_change_of_the_product_ends_nothing(world: World, live: Lives) -> None:
    product = await world.product()
    guest = await live()
    await guest.ask(type="subscribe", topic="inventory:TOTE", after=1)
    await world.actors.ask("product", product, ChangeProduct(vendor="Acme"))
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
    assert (await guest.next())["version"] == 2


async def test_a_sku_that_was_never_stocked_has_zeros(world: World, live: Lives) -> None:
    await world.product(stock=0)
    ada = await live()
    assert (await ada.ask(type="subscribe", topic="inventory:TOTE"))["version"] == 0
    assert (await ada.next())["data"] == {"on_hand": 0, "held": 0, "available": 0, "version": 0}
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=4, reason="received"))
    assert (await ada.next())["data"]["available"] == 4


def selling(sku: str) -> ChangeProduct:
    return ChangeProduct(variants=(Variant(sku=sku, prices=(Money(1290, "USD"),)),))


async def test_a_sku_that_moved_to_another_product_is_followed_there(world: World, live: Lives) -> None:
    first, second = await world.product(), await world.product("OTHER")
    guest = await live()
    await guest.ask(type="subscribe", topic="inventory:TOTE", after=1)
    await world.actors.ask("product", first, selling("LEFT"))
    await world.actors.ask("product", second, selling("TOTE"))
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
    assert (await guest.next())["version"] == 2
    await world.actors.ask("product", second, ChangeProduct(status="archived"))
    ended = await guest.next()
    assert (ended["type"], ended["code"]) == ("error", "not_found")


async def test_a_state_that_is_not_in_memory_yet_is_waited_for(
    world: World, live: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.product()
    ada = await live()
    await ada.ask(type="subscribe", topic="inventory:TOTE", after=1)
    read, old = world.actors.read, await world.actors.read("inventory", "TOTE")
    late = iter([old, old, old])

    async def lagging(kind: str, id: str) -> Any:
        return next(late, None) or await read(kind, id)

    monkeypatch.setattr(world.actors, "read", lagging)
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
    assert (await ada.next())["version"] == 2
    assert next(late, None) is None


async def test_a_stock_that_can_not_be_read_for_a_while_is_told_later(
    world: World, live: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "AGAIN_SECONDS", 0.01)
    await world.product()
    ada = await live()
    await ada.ask(type="subscribe", topic="inventory:TOTE", after=1)
    world.actors.failing["read"] = UNAVAILABLE
    await world.actors.ask("inventory", "TOTE", AdjustStock(delta=1, reason="found"))
    refused = await ada.ask(type="subscribe", topic="cart:any")
    assert (refused["type"], refused["code"], refused["topic"]) == ("error", "mailbox_full", "cart:any")
    del world.actors.failing["read"]
    assert (await ada.next())["version"] == 2
