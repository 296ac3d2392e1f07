import asyncio
import io
import json
import logging
import uuid
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from ultramarket.adapters.logs import configure

Lines = Callable[[], list[dict[str, Any]]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Person(msgspec.Struct):
    name: str


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    configure("json", "info", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_level_time_logger_and_the_ids_of_its_request(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request="r-1", trace="t-1", entity="cart:42"):
        structlog.get_logger("shop").info("cart frozen", version=7)
    (line,) = lines()
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {
        "event": "cart frozen",
        "level": "info",
        "logger": "shop",
        "request": "r-1",
        "trace": "t-1",
        "entity": "cart:42",
        "version": 7,
    }


async def test_ids_stay_with_their_own_task(lines: Lines) -> None:
    async def handle(request: str) -> None:
        structlog.contextvars.bind_contextvars(request=request)
        await asyncio.sleep(0)
        structlog.get_logger("shop").info("done", asked=request)

    await asyncio.gather(*(asyncio.create_task(handle(name)) for name in ("a", "b")))
    assert {(line["asked"], line["request"]) for line in lines()} == {("a", "a"), ("b", "b")}


@pytest.mark.parametrize(
    "key",
    [
        "authorization", "Authorization", "password", "db_password", "secret", "token", "access_token", "accessToken",
        "key", "api_key", "X-Api-Key", "staff_key", "idempotency_key", "cookie", "Set-Cookie", "email", "billing_email",
        "phone", "name", "first_name", "line1", "line2", "city", "postal_code", "address", "shipping_address",
        "shippingAddress", "remote", "client_ip", "dsn", "body",
    ],
)  # fmt: skip
def test_a_private_field_is_not_written_wherever_it_stands(stream: io.StringIO, key: str) -> None:
    configure("json", "info", stream)
    log = structlog.get_logger("shop")
    log.info("flat", **{key: "Ada42"})
    log.info("nested", order={"lines": [{key: "Ada42"}]})
    log.info("whole", **{key: {"inner": ["Ada42"]}})
    if key != "name":  # the standard library refuses it itself
        logging.getLogger("library").warning("extra", extra={key: "Ada42"})
    assert "Ada42" not in stream.getvalue()
    assert stream.getvalue().count("[redacted]") >= 3


@pytest.mark.parametrize("key", ["keyboard", "monkey", "event_name_count", "sku", "entity", "partition", "view_name"])
def test_an_ordinary_field_is_written(lines: Lines, key: str) -> None:
    structlog.get_logger("shop").info("flat", **{key: "plain-value"})
    assert lines()[0][key] == "plain-value"


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("asked with um_staff_Abc-123_xyz today", "um_staff_Abc-123_xyz"),
        ("mail to ada.lovelace+shop@example.co.uk failed", "ada.lovelace+shop@example.co.uk"),
        ("GET /orders?email=ada%40example.com", "ada%40example.com"),
        ("to ÄDA@exämple.de", "ÄDA@exämple.de"),
        ("postgresql://shop:hunter2@db/shop refused", "hunter2"),
        ("header Bearer eyJhbGciOi.J9-x", "eyJhbGciOi.J9-x"),
        ("header basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("called +49 (30) 1234-5678", "1234-5678"),
    ],
)
def test_a_private_value_is_cut_out_of_any_text(lines: Lines, stream: io.StringIO, text: str, private: str) -> None:
    log = structlog.get_logger("shop")
    log.info(text)
    log.info("field", reason=text, list=[text], nested={"reason": text})
    log.error("raised", error=ValueError(text))
    try:
        int(text)
    except ValueError:
        log.exception("traceback")
        logging.getLogger("asyncpg").exception("library: %s", text)
    logging.getLogger("aiohttp.server").error("library %s", text, extra={"reason": text})
    assert private not in stream.getvalue()
    assert len(lines()) == 6
    assert "[redacted]" in lines()[0]["event"]


def test_an_object_is_written_as_its_type_and_plain_values_as_they_are(lines: Lines) -> None:
    structlog.get_logger("shop").info(
        "things", person=Person("Ada"), path=Path("/var/shop"), id_=uuid.UUID(int=7), none=None, yes=True, many={"x"}
    )
    line = lines()[0]
    assert line["person"] == "<Person>"
    assert line["path"] == "/var/shop"
    assert line["id_"] == "00000000-0000-0000-0000-000000000007"
    assert (line["none"], line["yes"], line["many"]) == (None, True, ["x"])


def test_libraries_write_the_same_lines(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request="r-1"):
        logging.getLogger("aiohttp.server").warning("took %d ms", 5)
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"], line["request"]) == (
        "took 5 ms", "warning", "aiohttp.server", "r-1",
    )  # fmt: skip


def test_warnings_of_python_are_lines_too(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines()[0]["logger"] == "py.warnings"


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    configure("json", "warning", stream)
    structlog.get_logger("shop").info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger("shop").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_access_lines_of_the_http_server_are_left_to_ours(lines: Lines) -> None:
    logging.getLogger("aiohttp.access").info('127.0.0.1 "GET /api/v1/orders?email=ada HTTP/1.1" 200')
    assert lines() == []


def test_a_terminal_gets_text_and_text_is_redacted_too() -> None:
    terminal = Terminal()
    configure("auto", "info", terminal)
    structlog.get_logger("shop").info("signed in", email="ada@example.com", reason="ada@example.com")
    written = terminal.getvalue()
    assert "signed in" in written
    assert "ada@" not in written
    assert not written.startswith("{")


def test_text_can_be_asked_for_without_a_terminal(stream: io.StringIO) -> None:
    configure("text", "info", stream)
    try:
        int("ada@example.com")
    except ValueError:
        structlog.get_logger("shop").exception("failed")
    assert "ValueError: invalid literal for int() with base 10: [redacted]" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_a_second_setup_replaces_the_first(lines: Lines) -> None:
    other = io.StringIO()
    configure("json", "info", other)
    structlog.get_logger("shop").info("once")
    assert lines() == []
    assert other.getvalue().count("once") == 1
