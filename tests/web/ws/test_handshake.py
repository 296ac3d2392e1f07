"""Who may open a live connection, and what it takes."""

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import ClientSession, web

from tests.web.world import Client, World, problem
from tests.web.ws.live import HANDSHAKE, Lives
from web.app import create_app
from web.connections import Runner
from web.routes import LIVE
from web.ws import allowed


async def test_a_plain_get_is_told_to_upgrade(client: Client) -> None:
    await problem(await client.get(LIVE), 426, "upgrade_required")


async def test_pages_of_other_origins_may_not_connect(world: World, client: Client) -> None:
    object.__setattr__(world.shop, "allowed_origins", frozenset({"https://shop.example"}))
    refused = await client.get(LIVE, headers={**HANDSHAKE, "Origin": "https://evil.example"})
    await problem(refused, 403, "origin_not_allowed")
    for origin in ("https://shop.example", f"http://{client.host}:{client.port}"):
        ws = await client.ws_connect(LIVE, headers={"Origin": origin})
        await ws.close()


@pytest.mark.parametrize(
    ("origins", "host", "others", "may"),
    [
        ([], "shop", [], True),
        (["http://shop"], "shop", [], True),
        (["https://shop:8443"], "Shop:8443", [], True),
        (["http://shop"], "shop:8080", [], False),
        (["null"], "shop", [], False),
        (["null"], "shop", ["null"], True),
        (["https://a.example"], "shop", ["https://a.example"], True),
        (["http://a.example"], "shop", ["https://a.example"], False),
        (["https://shop.evil.example"], "shop", [], False),
        (["http://shop", "https://evil.example"], "shop", [], False),
        (["http://["], "shop", [], False),
    ],
)
def test_an_origin_is_this_hosts_or_one_that_is_allowed(
    origins: list[str], host: str, others: list[str], may: bool
) -> None:
    assert allowed(origins, host, others) is may


async def test_a_wrong_key_is_refused_before_the_upgrade(client: Client) -> None:
    answer = await client.get(LIVE, headers={**HANDSHAKE, "Authorization": "Bearer wrong"})
    await problem(answer, 401, "invalid_credentials")


async def test_a_live_connection_takes_no_room_of_the_requests_and_has_no_deadline(
    world: World, live: Lives, client: Client
) -> None:
    object.__setattr__(world.shop, "request_seconds", 0.05)
    ada = await live()
    assert world.shop.admission.in_flight == 0
    await asyncio.sleep(0.3)
    assert await ada.ask(type="ping") == {"type": "pong"}
    assert (await client.get("/health/live")).status == 200


async def test_metrics_count_connections_and_subscriptions(live: Lives, cart: Any, client: Client) -> None:
    ada = await live()
    await ada.ask(type="subscribe", topic=f"cart:{cart['id']}")
    await ada.ask(type="dance")
    text = await (await client.get("/metrics")).text()
    for line in ("ultramarket_ws_connections 1", "ultramarket_ws_subscriptions 1", "ultramarket_ws_errors_total 1"):
        assert line in text


async def test_a_live_connection_counts_among_the_connections(world: World) -> None:
    admission = world.shop.admission
    runner = Runner(create_app(world.shop), shutdown_timeout=1)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        await web.SockSite(runner, bound).start()
        url = f"http://127.0.0.1:{bound.getsockname()[1]}{LIVE}"
        async with ClientSession() as session, session.ws_connect(url) as ws:
            await ws.send_json({"type": "ping"})
            assert await ws.receive_json() == {"type": "pong"}
            assert (admission.connections, admission.in_flight) == (1, 0)
        await runner.cleanup()
    assert admission.connections == 0


async def test_the_upgrade_has_the_headers_of_every_answer(client: Client) -> None:
    ws = await client.ws_connect(LIVE, headers={"X-Request-Id": "mine"})
    headers = ws._response.headers
    await ws.close()
    assert (headers["X-Request-Id"], headers["X-Content-Type-Options"], headers["Server"]) == (
        "mine",
        "nosniff",
        "UltraMarket",
    )
