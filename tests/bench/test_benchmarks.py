"""Every benchmark runs, tiny, and gives its rows; what they measure is for a quiet machine and for people."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import msgspec
import pytest

from scripts.benchmarks import (
    add_to_cart,
    checkout,
    entities,
    hot_sku,
    importing,
    live,
    mixed,
    orders,
    products,
    rebuild,
    replicas,
    search,
    start,
)
from scripts.benchmarks.__main__ import BENCHMARKS, main
from scripts.benchmarks.histories import stopped_database
from scripts.benchmarks.rows import Figures, Row, Size
from scripts.benchmarks.shop import ROOT, SKUS, STOCK
from tests.faults.invariants import faults_at_rest

TINY = Size(rounds=1, operations=24, entities=4)


def check(row: Row) -> None:
    assert row.value > 0
    assert row.conditions
    assert (row.baseline is None) == (row.ratio is None)
    for took in (row.operation, row.plain):
        if took is not None:
            times = [time for time in (took.p50, took.p99, took.p999) if time is not None]
            assert times == sorted(times)
            assert len(times) in {0, 3}
            assert took.cpu_python_ms >= 0  # the kernel counts in hundredths of a second: so few may take none


async def test_add_to_cart_is_measured_with_and_without_a_key_and_for_one_client(tmp_path: Path) -> None:
    rows = await add_to_cart.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "add to cart",
        "add to cart, with Idempotency-Key",
        "add to cart, one client",
    ]
    for row in rows:
        check(row)
        assert row.ratio is not None
        assert row.operation is not None
        assert row.operation.wal_bytes
        assert row.operation.statements
        assert row.plain is not None
        # BEGIN, two selects, an update, an insert, COMMIT, and what the pool does after it; with a key two more.
        assert row.plain.statements == pytest.approx(9 if "Key" in row.name else 7, abs=0.5)


async def test_a_hot_sku_is_measured_by_open_holds_and_through_the_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hot_sku.HOLDS == (0, 1000, 10_000)
    monkeypatch.setattr(hot_sku, "HOLDS", (0, 100))
    rows = await hot_sku.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "reserve one hot SKU, 0 holds open",
        "reserve one hot SKU, 100 holds open",
        "reserve one hot SKU for an order, through the outbox",
    ]
    for row in rows:
        check(row)


async def test_checkouts_are_measured_alone_and_many_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout.AT_ONCE == (1, 8, 32, 128)
    assert checkout.CROWD == 64
    monkeypatch.setattr(checkout, "AT_ONCE", (1, 8))
    monkeypatch.setattr(checkout, "CROWD", 1)
    rows = await checkout.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["checkouts, 1 at a time", "checkouts, 8 at a time"]
    assert ["ULTRAMARKET_REQUEST_LIMIT=256" in row.conditions for row in rows] == [False, True]
    for row in rows:
        check(row)
        assert row.plain is not None


async def test_products_are_measured_alone_and_in_lists(tmp_path: Path) -> None:
    rows = await products.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["product by handle", "product list, pages of 24"]
    for row in rows:
        check(row)
        assert row.plain is not None
        assert row.plain.statements == pytest.approx(2, abs=0.5)  # the select, and what the pool does after it


async def test_mixed_traffic_is_measured(tmp_path: Path) -> None:
    rows = await mixed.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["mixed traffic, 90 % reads"]
    check(rows[0])


async def test_one_cart_is_measured_against_many(tmp_path: Path) -> None:
    rows = await entities.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["add to cart, spread over 2,000 carts against one", "memory, 2,000 carts"]
    for row in rows:
        check(row)
    with stopped_database(tmp_path / "entities") as dsn:
        assert await wrong(dsn) == []


async def test_orders_are_measured_in_a_shop_with_few_and_in_one_with_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "STATS_SECONDS", 0)
    monkeypatch.setattr(orders, "REAL", 4)
    rows = await orders.run(tmp_path, TINY, "warning")
    assert [row.name.partition(", 400 orders against 2")[0] for row in rows] == [
        "checkouts",
        "an order's CPU in Python",
        "an order's CPU in PostgreSQL",
        "an order's write-ahead log",
        "memory",
    ]
    check(rows[0])
    with stopped_database(tmp_path / "400") as dsn:
        assert await wrong(dsn) == []


async def test_an_import_is_measured(tmp_path: Path) -> None:
    rows = await importing.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["import of products", "import of products, memory"]
    assert rows[0].conditions.startswith("80 variants of 4 products")
    for row in rows:
        check(row)


async def test_a_rebuild_is_measured(tmp_path: Path) -> None:
    rows = await rebuild.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "rebuild of orders",
        "rebuild of orders, memory",
        "rebuild of products",
        "rebuild of products, memory",
    ]
    for row in rows:
        check(row)


async def test_live_connections_are_measured_at_rest_and_as_they_are_told(tmp_path: Path) -> None:
    rows = await live.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "memory, 8 idle live connections",
        "live updates, 200 events/s to 4 followers of one cart",
        "live updates, 200 events/s to 4 followers of one cart",
    ]
    for row in rows[1:]:
        check(row)
        assert "20 events, 80 frames" in row.conditions


async def test_search_is_measured_by_the_kind_of_query(tmp_path: Path) -> None:
    rows = await search.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "search, a rare word",
        "search, a common word",
        "search, two words and the next page",
        "search, a phrase",
        "search, a beginning",
        "search, a typo",
        "search, a SKU",
        "search, highlights",
        "facets of a word",
        "facets of a common word",
        "facets of filters",
        "facets of everything",
        "suggestions",
        "list, the newest",
    ]
    for row in rows:
        check(row)
        assert row.operation is not None
        assert row.operation.statements
    listed = rows[-1].operation
    assert listed is not None
    assert listed.statements == 1


async def test_both_starts_are_measured(tmp_path: Path) -> None:
    rows = await start.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == ["start, cold", "start, warm"]
    for row in rows:
        check(row)


@pytest.mark.usefixtures("rabbitmq_url")
async def test_a_front_end_and_a_worker_are_measured_and_no_request_skips_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "PLANS", {replicas.APART: replicas.PLANS[replicas.APART]})
    rows = await replicas.run(tmp_path, TINY, "warning")
    assert [row.name for row in rows] == [
        "add to cart, a front end and a worker",
        "CPU of a round trip over the broker",
        "through one partition, a front end and a worker",
        "checkouts, 32 at a time, a front end and a worker",
    ]
    assert "; 0% of the requests skip the broker" in rows[0].conditions
    for row in rows:
        if row.name != "CPU of a round trip over the broker":  # the difference of two that so few requests take
            check(row)


async def wrong(dsn: str) -> list[str]:
    """What the checks of the crash tests find in a shop whose histories are copies."""
    connection = await asyncpg.connect(dsn)
    try:
        return await faults_at_rest(connection, dict.fromkeys(SKUS, STOCK))
    finally:
        await connection.close()


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", *arguments],
        cwd=ROOT, env={**os.environ, "COLUMNS": "300"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_help_and_the_refusal_of_an_unknown_name_name_all_benchmarks() -> None:
    names = (
        "add-to-cart, hot-sku, checkout, products, mixed, entities, orders, search, rebuild, import, live, start, "
        "replicas"
    )
    assert list(BENCHMARKS) == names.split(", ")
    assert names in " ".join(run("--help").stdout.split())
    refused = run("nothing")
    assert refused.returncode == 2
    assert names in refused.stderr


def test_a_row_has_the_fields_of_the_file() -> None:
    took = Figures(p50=1.0, p99=2.0, p999=3.0, cpu_python_ms=0.5, cpu_postgres_ms=0.25, statements=1.5, wal_bytes=100.0)
    row = Row(name="x", value=1.0, unit="s", operation=took, plain=took)
    written = msgspec.json.decode(msgspec.json.encode(row.fields()))
    figures = {
        "p50": 1.0,
        "p99": 2.0,
        "p999": 3.0,
        "cpu_python_ms": 0.5,
        "cpu_postgres_ms": 0.25,
        "cpu_client_ms": None,
        "statements": 1.5,
        "wal_bytes": 100.0,
    }
    assert written == {
        "name": "x",
        "value": 1.0,
        "unit": "s",
        "baseline": None,
        "ratio": None,
        "goal": "",
        "conditions": "",
        **figures,
        **{f"baseline_{name}": value for name, value in figures.items()},
    }
    assert "p50" not in Row(name="x", value=1.0, unit="s").fields()


def test_a_benchmark_that_fails_takes_nothing_from_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one(_work: Path, _size: Size, _log_level: str) -> list[Row]:
        return [Row(name="one", value=1.0, unit="s")]

    async def broken(_work: Path, _size: Size, _log_level: str) -> list[Row]:
        raise RuntimeError("refused")

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setitem(BENCHMARKS, "one", one)
    monkeypatch.setitem(BENCHMARKS, "broken", broken)
    file = tmp_path / "rows.json"
    with pytest.raises(RuntimeError, match="refused"):
        main(["one", "broken"], json=file, quick=True)
    assert [row["name"] for row in msgspec.json.decode(file.read_bytes())["rows"]] == ["one"]
