import asyncio
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from ultramarket.adapters.access_log import access_log
from ultramarket.ports.access_log import Access


def answered(**facts: Any) -> Access:
    return Access(
        **{
            "request": "r-1",
            "method": "GET",
            "route": "/api/v1/carts/{id}",
            "ids": {"id": "c"},
            "status": 200,
            "milliseconds": 1.5,
            "principal": "guest",
            **facts,
        }
    )


async def test_a_request_is_a_json_line_like_any_other() -> None:
    stream = io.StringIO()
    access_log("json", "info", stream)(answered())
    await asyncio.sleep(0)
    line = json.loads(stream.getvalue())
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {
        "event": "request",
        "request": "r-1",
        "method": "GET",
        "route": "/api/v1/carts/{id}",
        "ids": {"id": "c"},
        "status": 200,
        "milliseconds": 1.5,
        "principal": "guest",
        "level": "info",
        "logger": "web.access",
    }


async def test_the_lines_of_one_iteration_are_written_in_order_at_its_end() -> None:
    stream = io.StringIO()
    write = access_log("json", "debug", stream)
    for status in (200, 404, 503):
        write(answered(status=status))
    assert stream.getvalue() == ""
    await asyncio.sleep(0)
    assert [json.loads(line)["status"] for line in stream.getvalue().splitlines()] == [200, 404, 503]


@pytest.mark.parametrize("private", ["ada@example.com", "um_staff_secret-key", "+49 170 1234567"])
async def test_what_a_client_put_into_a_path_or_an_id_is_redacted(private: str) -> None:
    stream = io.StringIO()
    access_log("json", "info", stream)(answered(request=private, ids={"id": f"x {private} y"}))
    await asyncio.sleep(0)
    line = json.loads(stream.getvalue())
    assert (line["request"], line["ids"]) == ("[redacted]", {"id": "x [redacted] y"})


async def test_a_stream_that_fails_fails_nobody() -> None:
    stream = io.StringIO()
    write = access_log("json", "info", stream)
    write(answered())
    stream.close()
    await asyncio.sleep(0)
    write(answered())
    await asyncio.sleep(0)


async def test_above_its_level_nothing_is_written() -> None:
    stream = io.StringIO()
    access_log("json", "warning", stream)(answered())
    await asyncio.sleep(0)
    assert stream.getvalue() == ""


def test_for_people_the_line_goes_the_way_of_all_others() -> None:
    structlog.reset_defaults()  # whatever another test has set up
    with structlog.testing.capture_logs() as lines:
        access_log("text", "info", io.StringIO())(answered())
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("request", "info")
    assert {name: line[name] for name in ("request", "route", "ids", "status")} == {
        "request": "r-1",
        "route": "/api/v1/carts/{id}",
        "ids": {"id": "c"},
        "status": 200,
    }
