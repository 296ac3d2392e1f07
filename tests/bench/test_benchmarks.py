"""Every benchmark runs, tiny, and gives its rows; what they measure is for a quiet machine and for people."""

import asyncio
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest

from scripts.benchmarks import add_to_cart, checkout, hot_sku, start
from scripts.benchmarks.http_client import Connection, connections
from scripts.benchmarks.meter import Used
from scripts.benchmarks.rounds import Round, percentile, rate, ratio
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import ROOT, process

TINY = Size(rounds=1, operations=24, entities=4)


def check(row: Row) -> None:
    assert row.value > 0
    assert row.conditions
    assert (row.baseline is None) == (row.ratio is None)


async def test_add_to_cart_is_measured_with_and_without_a_key(tmp_path: Path) -> None:
    rows = await add_to_cart.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["add to cart", "add to cart, with Idempotency-Key"]
    for row in rows:
        check(row)
        assert row.ratio is not None
    assert rows[0].goal == "ratio 2, at least 1.5"


async def test_a_hot_sku_is_measured_without_and_with_open_holds_and_through_the_outbox(tmp_path: Path) -> None:
    rows = await hot_sku.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "reserve one hot SKU, 0 holds open",
        "reserve one hot SKU, 1,000 holds open",
        "reserve one hot SKU for an order, through the outbox",
    ]
    for row in rows:
        check(row)


async def test_checkouts_are_measured_alone_and_many_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "STATS_SECONDS", 0)
    rows = await checkout.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["checkouts, 1 at a time", "checkouts, 32 at a time"]
    for row in rows:
        check(row)
        assert "CPU Python" in row.conditions
        assert "WAL" in row.conditions


async def test_both_starts_are_measured(tmp_path: Path) -> None:
    rows = await start.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["start, cold", "start, warm"]
    for row in rows:
        check(row)


def test_an_unknown_benchmark_is_refused_with_the_names_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", "nothing"],
        cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "add-to-cart, hot-sku, checkout, start" in done.stderr


def test_a_rate_is_the_median_round_and_a_ratio_the_median_pair() -> None:
    ours = [Round(1.0, [0.1] * count, Used()) for count in (10, 30, 20)]
    theirs = [Round(1.0, [0.1] * count, Used()) for count in (10, 10, 5)]
    assert rate(ours) == 20
    assert ratio(ours, theirs) == 3


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7


def test_what_was_used_adds_up_and_is_told_per_operation() -> None:
    used = Used(2.0, 1.0, 300, 30) - Used(1.0, 0.5, 100, 10)
    assert used == Used(1.0, 0.5, 200, 20)
    assert used.cpu(100) == "Python 10.00 ms, PostgreSQL 5.00 ms"


def test_a_row_has_the_fields_of_the_file() -> None:
    row = Row(name="x", value=1.0, unit="s")
    assert msgspec.json.decode(msgspec.json.encode(asdict(row))) == {
        "name": "x",
        "value": 1.0,
        "unit": "s",
        "baseline": None,
        "ratio": None,
        "goal": "",
        "conditions": "",
    }


async def test_the_client_puts_an_answer_together_from_its_pieces() -> None:
    connection = Connection()
    connection._answer = answer = asyncio.get_running_loop().create_future()
    for piece in (b"HTTP/1.1 201 Created\r\nContent-", b'Length: 7\r\n\r\n{"a"', b":1}"):
        connection.data_received(piece)
    reply = await answer
    assert (reply.status, reply.json()) == (201, {"a": 1})


async def test_the_client_says_that_the_server_went_away() -> None:
    connection = Connection()
    connection._answer = answer = asyncio.get_running_loop().create_future()
    connection.connection_lost(None)
    with pytest.raises(ConnectionError):
        await answer
    with pytest.raises(ConnectionError):
        await connection.call("GET", "/")


async def test_a_process_is_gone_after_its_block(tmp_path: Path) -> None:
    async with process(["-c", "import time; time.sleep(60)"], tmp_path / "log", {}) as started:
        assert started.returncode is None
    assert started.returncode is not None


async def test_nobody_listening_is_an_error() -> None:
    with pytest.raises(ConnectionError):
        async with connections(1, 1):
            pass
