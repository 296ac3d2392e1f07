"""Live connections as such: bad frames, limits, slow readers, and how they end."""

import asyncio
from typing import Any

import pytest

from tests.web.world import Client, World, problem
from tests.web.ws.live import HANDSHAKE, SOON, Lives, change
from ultramarket.messages.cart import CreateCart
from web.routes import LIVE
from web.services import LiveLimits
from web.ws.hub import Hub


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "malformed_json"),
        ("{", "malformed_json"),
        ('{"x":' + "[" * 2000, "malformed_json"),
        ("[]", "invalid"),
        ('{"type":"dance"}', "invalid"),
        ('{"topic":"cart:1"}', "invalid"),
        ('{"type":"ping","extra":1}', "invalid"),
        ('{"type":"subscribe"}', "invalid"),
        ('{"type":"subscribe","topic":"cart:1","after":"x"}', "invalid"),
        ('{"type":"subscribe","topic":"cart:1","after":-1}', "invalid"),
        ('{"type":"subscribe","topic":"cart:1","after":1.5}', "invalid"),
        ('{"type":"subscribe","topic":"cart"}', "topic_unknown"),
        ('{"type":"subscribe","topic":"payment:1"}', "topic_unknown"),
        ('{"type":"subscribe","topic":"cart:nobody"}', "not_found"),
        ('{"type":"subscribe","topic":"order:a\\u0000b"}', "not_found"),
        ('{"type":"subscribe","topic":"inventory:NOTHING"}', "not_found"),
        ('{"type":"unsubscribe","topic":"cart:1"}', "not_subscribed"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_connection_goes_on(live: Lives, frame: str, code: str) -> None:
    ada = await live()
    await ada.ws.send_str(frame)
    answer = await ada.next()
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["detail"]
    assert await ada.ask(type="ping") == {"type": "pong"}


async def test_binary_frames_are_answered_too(live: Lives) -> None:
    ada = await live()
    await ada.ws.send_bytes(b"{}")
    assert (await ada.next())["code"] == "invalid"
    assert await ada.ask(type="ping") == {"type": "pong"}


async def test_a_frame_that_is_too_large_ends_the_connection(live: Lives) -> None:
    ada = await live()
    await ada.ws.send_str(" " * 4097)
    assert await ada.closed() == 1009


async def test_a_topic_can_be_had_once_and_only_so_many_at_all(world: World, live: Lives, cart: Any, hub: Hub) -> None:
    hub.limits = LiveLimits(subscriptions=2)
    ada = await live()
    topic = f"cart:{cart['id']}"
    await ada.ask(type="subscribe", topic=topic)
    assert (await ada.ask(type="subscribe", topic=topic))["code"] == "already_subscribed"
    assert (await ada.ask(type="subscribe", topic="inventory:TOTE", after=1))["type"] == "subscribed"
    await world.actors.ask("cart", "another", CreateCart(currency="USD"))
    assert (await ada.ask(type="subscribe", topic="cart:another"))["code"] == "too_many_subscriptions"


async def test_a_reader_that_is_too_slow_is_cut_and_can_go_on(world: World, live: Lives, cart: Any, hub: Hub) -> None:
    hub.limits = LiveLimits(unread_bytes=0)
    ada = await live()
    await ada.ask(type="subscribe", topic=f"cart:{cart['id']}")
    ada.ws._conn.protocol.pause_reading()  # type: ignore[union-attr]
    quantity = 1
    while hub.connections:
        quantity = quantity % 900 + 1
        await change(world, cart, quantity)
        await asyncio.sleep(0)
    ada.ws._conn.protocol.resume_reading()  # type: ignore[union-attr]
    assert await ada.closed() == 4008
    assert hub.figures.cut == 1


async def test_at_a_stop_everybody_is_told_to_come_again(live: Lives, cart: Any, hub: Hub, client: Client) -> None:
    ada, bob = await live(), await live()
    await ada.ask(type="subscribe", topic=f"cart:{cart['id']}")
    stopping = asyncio.create_task(hub.stop())
    assert [await ada.closed(), await bob.closed()] == [1012, 1012]
    await stopping
    assert hub.connections == 0
    refused = await client.get(LIVE, headers=HANDSHAKE)
    await problem(refused, 503, "shutting_down")


async def test_a_client_that_goes_leaves_nothing_behind(world: World, live: Lives, cart: Any, hub: Hub) -> None:
    ada = await live()
    for topic in (f"cart:{cart['id']}", "inventory:TOTE"):
        await ada.ask(type="subscribe", topic=topic)
    await ada.ws.close()
    async with asyncio.timeout(SOON):
        while hub.connections:  # noqa: ASYNC110 - the server's side has no event to wait for
            await asyncio.sleep(0.01)
    assert not hub._stocks
    assert not world.tailer._listened
