"""What is no request that a handler could see: bytes on a real connection."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
import structlog
from aiohttp import web

from tests.web.world import World
from web.app import create_app
from web.connections import Runner

Say = Callable[[bytes], Awaitable[tuple[str, dict[str, str], bytes]]]


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    runner = Runner(create_app(world.shop), shutdown_timeout=1)
    assert runner.server is None
    await runner.setup()
    bound = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, bound).start()
    yield bound.getsockname()[1]
    await runner.cleanup()


@pytest.fixture
def say(port: int) -> Say:
    async def say(raw: bytes) -> tuple[str, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["Content-Length"]))
        writer.close()
        return first, headers, body

    return say


HOST = b"Host: shop\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /m\xc3\xbcller HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
        (b"POST /api/v1/carts HTTP/1.1\r\n" + HOST + b"Content-Length: -2\r\n\r\n{}", 400),
        (b"POST /api/v1/carts HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: the-unexpected\r\n\r\n", 417),
    ],
)
async def test_what_is_no_request_is_a_problem(say: Say, raw: bytes, status: int) -> None:
    first, headers, body = await say(raw)
    document = msgspec.json.decode(body)
    assert first.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} "))
    assert headers["Content-Type"] == "application/problem+json"
    assert (document["code"], document["status"]) == ("bad_request", status)
    assert document["instance"] == f"urn:request:{headers['X-Request-Id']}"
    assert (headers["Server"], headers["X-Content-Type-Options"]) == ("UltraMarket", "nosniff")


@pytest.mark.parametrize("raw", [b"GET /" + b"a" * 9000, b"GET / HTTP/1.1\r\nX: " + b"a" * 9000])
async def test_a_line_that_is_too_long_is_a_problem_that_says_so(say: Say, raw: bytes) -> None:
    _, _, body = await say(raw + b" HTTP/1.1\r\n\r\n")
    assert msgspec.json.decode(body)["detail"] == "The request line or a header is longer than 8190 bytes."


async def test_bytes_at_fault_are_neither_told_nor_logged(say: Say, caplog: pytest.LogCaptureFixture) -> None:
    with structlog.testing.capture_logs() as logs:
        _, _, body = await say(
            b"GET /api/v1/orders?email=ada HTTP/1.1\r\n" + HOST + b"Authorization: Bearer hunter2\0\r\n\r\n"
        )
    assert [(line["event"], line["status"], line["reason"]) for line in logs] == [
        ("request refused", 400, "BadHttpMessage")
    ]
    assert not caplog.records
    assert b"hunter2" not in body
    assert "hunter2" not in str(logs)


async def test_an_expectation_keeps_the_clients_request_id(say: Say) -> None:
    _, headers, _ = await say(b"GET / HTTP/1.1\r\n" + HOST + b"X-Request-Id: mine\r\nExpect: x\r\n\r\n")
    assert headers["X-Request-Id"] == "mine"


async def test_a_body_that_can_not_be_unpacked_is_no_error_of_ours(say: Say, caplog: pytest.LogCaptureFixture) -> None:
    head = b"POST /api/v1/carts HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    first, _, _ = await say(head + b"Content-Length: 7\r\n\r\nno gzip")
    assert first.startswith("HTTP/1.1 400 ")
    assert not caplog.records


async def test_a_failure_outside_of_every_middleware_is_still_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("no answer was prepared")

    app = create_app(world.shop)
    app.on_response_prepare.append(fail)
    runner = Runner(app, shutdown_timeout=1)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as bound:
        await web.SockSite(runner, bound).start()
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await runner.cleanup()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_client_that_goes_in_the_middle_of_its_body_is_no_error(port: int) -> None:
    with structlog.testing.capture_logs() as logs:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/v1/carts HTTP/1.1\r\n" + HOST + b"Content-Length: 20\r\n\r\n{}")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        async with asyncio.timeout(5):
            while not logs:  # noqa: ASYNC110 - the log has no event to wait for
                await asyncio.sleep(0.01)
    assert [(line["event"], line["status"]) for line in logs] == [("request", 400)]


@pytest.mark.parametrize(("path", "type"), [("carts", "application/json"), ("imports", "text/csv")])
async def test_a_body_that_does_not_come_is_the_clients_fault(say: Say, world: World, path: str, type: str) -> None:
    object.__setattr__(world.shop, "request_seconds", 0.1)
    object.__setattr__(world.shop, "upload_seconds", 0.1)
    head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: shop\r\nContent-Type: {type}\r\nContent-Length: 20\r\n"
    key = "Authorization: Bearer staff-key-of-the-tests\r\n\r\n{}"
    first, _, body = await say((head + key).encode())
    assert first.startswith("HTTP/1.1 408 ")
    assert msgspec.json.decode(body)["code"] == "request_timeout"
