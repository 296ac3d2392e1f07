import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scripts.benchmarks.http_client import Connection, Reply, connections, request, storm


@asynccontextmanager
async def serving(handler: "web.RequestHandler | object") -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)  # type: ignore[arg-type]  # a handler of the tests
    async with TestServer(app, host="127.0.0.1") as server:
        assert server.port is not None
        yield server.port


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), status=200, headers={"X-Path": request.path})


async def refuse(_: web.Request) -> web.Response:
    return web.json_response({"code": "busy"}, status=503, headers={"Retry-After": "2"})


def test_a_request_is_made_with_its_length() -> None:
    assert request("POST", "/x", {"a": 1}, "if-match: 1\r\n") == (
        b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 7\r\n"
        b'if-match: 1\r\n\r\n{"a":1}'
    )
    assert request("GET", "/x") == b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def test_an_answer_is_put_together_from_its_pieces() -> None:
    connection = Connection()
    found: list[tuple[bytes, int]] = []
    connection._answered = lambda data, begin: found.append((data, begin))
    for piece in (b"HTTP/1.1 201 Created\r\nContent-", b'Length: 7\r\n\r\n{"a"', b":1}"):
        connection.data_received(piece)
    (data, begin) = found[0]
    assert data[begin:] == b'{"a":1}'
    assert Reply(int(data[9:12]), data[:begin], data[begin:]).json() == {"a": 1}


async def test_a_call_gives_status_and_body() -> None:
    async with serving(echo) as port, connections(port, 1) as (connection,):
        reply = await connection.call("POST", "/x", {"a": [1, 2]})
        assert (reply.status, reply.json(), reply.retry_after) == (200, {"a": [1, 2]}, None)


async def test_a_refusal_says_when_to_come_back() -> None:
    async with serving(refuse) as port, connections(port, 1) as (connection,):
        reply = await connection.call("GET", "/x")
        assert (reply.status, reply.retry_after) == (503, 2.0)
        with pytest.raises(RuntimeError, match=r"503.*busy"):
            reply.json()


async def test_a_storm_sends_every_request_once_over_all_connections() -> None:
    seen: list[str] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text="ok")

    async with serving(note) as port, connections(port, 4) as opened:
        latencies = await storm(opened, [request("GET", f"/{number}") for number in range(50)])
    assert sorted(seen) == sorted(f"/{number}" for number in range(50))
    assert len(latencies) == 50
    assert min(latencies) > 0


async def test_a_storm_ends_at_a_refusal() -> None:
    async with serving(refuse) as port, connections(port, 2) as opened:
        with pytest.raises(ExceptionGroup) as raised:
            await storm(opened, [request("GET", "/x")] * 10)
        assert "503" in str(raised.value.exceptions[0])


async def test_the_client_says_that_the_server_went_away() -> None:
    async def leave(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(leave) as port, connections(port, 1) as (connection,):
        with pytest.raises(ConnectionError):
            await connection.call("GET", "/")
        with pytest.raises(ConnectionError):
            await connection.call("GET", "/")


async def test_nobody_listening_is_an_error() -> None:
    with pytest.raises(ConnectionError):
        async with connections(1, 1):
            pass
