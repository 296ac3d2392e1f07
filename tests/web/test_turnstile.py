"""Requests and connections for which there is no room, on real connections."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import web

from tests.web.world import Client, World, problem
from web import turnstile
from web.admission import Admission, Kind
from web.app import create_app
from web.connections import Runner

GET = b"GET /api/v1/products HTTP/1.1\r\nHost: shop\r\n\r\n"
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: shop\r\n\r\n"
BODY = b"POST /api/v1/carts HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


class Wire:
    """A connection to the shop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def say(self, raw: bytes, *, bodiless: bool = False) -> tuple[int, dict[str, str], Any]:
        """Send this, and read one answer."""
        self.writer.write(raw)
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = b"" if bodiless else await self._reader.readexactly(int(headers["Content-Length"]))
        is_json = headers.get("Content-Type", "").partition(";")[0].endswith("json")
        return int(first.split()[1]), headers, msgspec.json.decode(body) if body and is_json else body

    async def rest(self) -> bytes:
        """What comes until the connection is closed."""
        async with asyncio.timeout(5):
            return await self._reader.read()


@pytest.fixture
def admission(world: World) -> Admission:
    """Room for one request and two connections."""
    admission = Admission(limit=1, connections=2)
    object.__setattr__(world.shop, "admission", admission)
    return admission


@pytest.fixture
async def address(world: World, admission: Admission) -> AsyncIterator[tuple[str, int]]:
    assert admission is world.shop.admission
    runner = Runner(create_app(world.shop), shutdown_timeout=1)
    await runner.setup()
    bound = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, bound).start()
    yield bound.getsockname()
    await runner.cleanup()


@pytest.fixture
async def wire(address: tuple[str, int]) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_connection(*address))
    yield wire
    wire.writer.close()


@pytest.fixture
async def another(address: tuple[str, int]) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_connection(*address))
    yield wire
    wire.writer.close()


@pytest.mark.parametrize("request_", [GET, BODY + b"{}"])
async def test_without_room_a_request_is_sent_away_and_its_connection_stays(
    wire: Wire, admission: Admission, world: World, request_: bytes
) -> None:
    await wire.say(HEALTH)
    ticket = admission.enter(Kind.CHECKOUT)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            status, headers, document = await wire.say(request_.replace(b"\r\n\r\n", b"\r\nX-Request-Id: mine\r\n\r\n"))
            assert (status, headers["Retry-After"], headers["X-Request-Id"]) == (503, "1", "mine")
            assert headers["Content-Type"] == "application/problem+json"
            assert (headers["Server"], headers["X-Content-Type-Options"]) == ("UltraMarket", "nosniff")
            assert (document["code"], document["status"]) == ("overloaded", 503)
            assert document["instance"] == "urn:request:mine"
    assert not world.actors.asked
    assert [line["event"] for line in logs] == ["overloaded: requests are sent away"]
    assert admission.refused[Kind.BROWSING] == 2
    admission.leave(ticket)
    status, _, _ = await wire.say(request_)
    assert status in (200, 201)
    assert admission.in_flight == 0


async def test_the_first_request_of_a_connection_is_sent_away_too(wire: Wire, admission: Admission) -> None:
    admission.enter(Kind.CHECKOUT)
    status, headers, document = await wire.say(GET)
    assert (status, document["instance"]) == (503, f"urn:request:{headers['X-Request-Id']}")


async def test_who_is_sent_away_gets_the_same_answer_either_way(wire: Wire, admission: Admission) -> None:
    await wire.say(HEALTH)
    admission.enter(Kind.CHECKOUT)
    ours = await wire.say(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: mine\r\n\r\n"))
    theirs = await wire.say(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: mine\r\nConnection: close\r\n\r\n"))
    assert theirs[1].pop("Connection") == "close"
    assert theirs[1].pop("Date")
    assert ours == theirs
    assert await wire.rest() == b""


async def test_a_body_that_is_still_on_its_way_does_not_hold_the_answer_up(wire: Wire, admission: Admission) -> None:
    admission.enter(Kind.CHECKOUT)
    status, _, document = await wire.say(BODY)
    assert (status, document["code"]) == (503, "overloaded")
    status, _, _ = await wire.say(b"{}" + GET)
    assert status == 503


async def test_an_answer_to_head_has_no_body(wire: Wire, admission: Admission) -> None:
    ticket = admission.enter(Kind.CHECKOUT)
    status, _, _ = await wire.say(GET.replace(b"GET", b"HEAD"), bodiless=True)
    assert status == 503
    admission.leave(ticket)
    status, _, _ = await wire.say(GET)
    assert status == 200


async def test_requests_sent_together_are_answered_in_order(wire: Wire, admission: Admission) -> None:
    admission.enter(Kind.CHECKOUT)
    status, _, _ = await wire.say(HEALTH + GET + HEALTH)
    statuses = [status, (await wire.say(b""))[0], (await wire.say(b""))[0]]
    assert statuses == [200, 503, 200]


async def test_a_request_on_a_busy_connection_waits_for_its_turn(
    wire: Wire, world: World, admission: Admission
) -> None:
    world.actors.gate = asyncio.Event()
    wire.writer.write(BODY + b"{}")
    async with asyncio.timeout(5):
        await world.actors.arrived.wait()
    wire.writer.write(GET)
    await asyncio.sleep(0.05)
    assert admission.in_flight == 1
    world.actors.gate.set()
    assert [(await wire.say(b""))[0], (await wire.say(b""))[0]] == [201, 200]


async def test_a_client_that_goes_before_its_request_is_begun_leaves_no_trace(
    wire: Wire, address: tuple[str, int], admission: Admission
) -> None:
    for _ in range(20):
        with socket.create_connection(address) as brief:
            brief.sendall(GET)
            brief.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while admission.in_flight or admission.connections > 1:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    await wire.say(HEALTH)
    assert admission.connections == 1


async def test_a_handler_that_fails_leaves_too(world: World, admission: Admission, client: Client) -> None:
    world.actors.failing["ask"] = RuntimeError("out of order")
    answer = await client.post("/api/v1/carts", json={})
    await problem(answer, 500, "internal")
    assert admission.in_flight == 0


async def test_a_repeat_of_an_order_comes_in_where_a_new_one_does_not(
    admission: Admission, client: Client, cart: dict[str, Any]
) -> None:
    body = {"cart_id": cart["id"], "cart_version": cart["version"], "payment": {"gateway": "sandbox", "method": "ok"}}
    key = {"Idempotency-Key": "the-key-of-the-order"}
    first = await client.post("/api/v1/orders", json=body, headers=key)
    assert first.status == 201
    admission.enter(Kind.CHECKOUT)
    again = await client.post("/api/v1/orders", json=body, headers=key)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    other = await client.post("/api/v1/orders", json=body, headers={"Idempotency-Key": "another-key-altogether"})
    await problem(other, 503, "overloaded")


async def test_one_connection_too_many_is_told_so_and_closed(
    wire: Wire, another: Wire, address: tuple[str, int], admission: Admission
) -> None:
    for kept in (wire, another):
        assert (await kept.say(HEALTH))[0] == 200
    third = Wire(*await asyncio.open_connection(*address))
    status, headers, document = await third.say(GET)
    assert (status, headers["Connection"], document["code"]) == (503, "close", "overloaded")
    third.writer.write(GET)
    assert await third.rest() == b""
    third.writer.close()
    assert (admission.connections, admission.connections_refused) == (2, 1)
    another.writer.close()
    async with asyncio.timeout(5):
        while admission.connections > 1:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    fourth = Wire(*await asyncio.open_connection(*address))
    assert (await fourth.say(GET))[0] == 200
    fourth.writer.close()


async def test_one_connection_too_many_may_ask_for_health_and_metrics(
    wire: Wire, another: Wire, address: tuple[str, int], admission: Admission
) -> None:
    for kept in (wire, another):
        await kept.say(HEALTH)
    admission.refuse(Kind.BROWSING)
    third = Wire(*await asyncio.open_connection(*address))
    assert (await third.say(HEALTH))[0] == 200
    _, _, text = await third.say(HEALTH.replace(b"/health/live", b"/metrics"))
    assert b'ultramarket_http_refused_total{kind="browsing"} 1\n' in text
    assert b"ultramarket_http_connections 3\n" in text
    assert b"ultramarket_http_limit 1\n" in text
    third.writer.close()


async def test_one_connection_too_many_that_says_nothing_is_closed(
    wire: Wire, another: Wire, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kept in (wire, another):
        await kept.say(HEALTH)
    monkeypatch.setattr(turnstile, "LINGER_SECONDS", 0.05)
    third = Wire(*await asyncio.open_connection(*address))
    assert await third.rest() == b""
    third.writer.close()
