"""status, migrate and doctor on a database of their own."""

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from ultramarket.cli import app, checks


def execute(dsn: str, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


@pytest.fixture
def shop(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated database as the settings name it."""
    monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", dsn)
    monkeypatch.setenv("ULTRAMARKET_DATA_DIR", str(tmp_path))
    return dsn


def findings(runner: CliRunner, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    result = runner.invoke(app, ["doctor", "--json", *options])
    said = json.loads(result.stdout)
    assert said["healthy"] is (result.exit_code == 0)
    return result.exit_code, {one["check"]: (one["state"], one["detail"]) for one in said["findings"]}


def test_status_counts_what_there_is_and_what_waits(runner: CliRunner, shop: str) -> None:
    execute(
        shop,
        "insert into partition (kind, no, epoch, tail) values ('cart', 0, 1, 5), ('cart', 1, 1, 2), ('order', 0, 1, 1)",
        "insert into entity values ('cart', 'a', 1, 1, '', '{}'), ('cart', 'b', 1, 1, '', '{}')",
        "insert into outbox (message, kind, no, id, body, at) "
        "values ('m', 'order', 0, 'o', '{}', now() - interval '90 s')",
        "insert into timer values ('cart', 0, 'a', now() - interval '1 s'), ('cart', 1, 'b', now() + interval '1 h')",
        "insert into parked (message, n, kind, no, id, source, body, reason) "
        "values ('p', 1, 'order', 0, 'o', 'cart:a', '{}', 'x')",
        "insert into view_offset values ('carts.1', 'cart', 0, 3), ('carts.1', 'cart', 1, 2)",
        "insert into view_parked (view, kind, no, seq, reason) values ('carts.1', 'cart', 0, 2, 'x')",
        "insert into event (kind, no, seq, id, version, type, data, at, command, actor, trace, hash) "
        "values ('cart', 0, 4, 'a', 1, 'Happened', '{}', now() - interval '60 s', '', '', '', '')",
    )
    said = json.loads(runner.invoke(app, ["status", "--json"]).stdout)
    assert 90 <= said["waiting"].pop("oldest_seconds") < 150
    assert 60 <= said["views"][0].pop("behind_seconds") < 120
    assert int(said.pop("server").split(".")[0]) >= 14
    assert said == {
        "owner": None,
        "members": [],
        "kinds": [
            {"kind": "cart", "partitions": 2, "events": 7, "entities": 2},
            {"kind": "order", "partitions": 1, "events": 1, "entities": 0},
        ],
        "waiting": {"messages": 1, "timers": 2, "timers_due": 1, "parked": 1},
        "views": [{"view": "carts.1", "offset": 5, "behind": 2, "parked": 1}],
    }
    lines = runner.invoke(app, ["status"]).stdout.splitlines()
    assert lines[0] == "Runs       no"
    assert lines[2] == "Outbox     1 messages, the oldest for 1 min"
    assert lines[3] == "Timers     2, 1 of them due"
    assert [line.split() for line in lines[6:9]] == [
        ["Kind", "Entities", "Events", "Partitions"],
        ["cart", "2", "7", "2"],
        ["order", "0", "1", "1"],
    ]


def test_migrate_makes_the_tables_once(runner: CliRunner, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(server, "create database um_cli_migrate")
    try:
        dsn = urlunsplit(urlsplit(server)._replace(path="/um_cli_migrate"))
        monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", dsn)
        early = runner.invoke(app, ["status"])
        assert early.exit_code == 1
        assert early.stderr == "Error: The database is not up to date: run `ultramarket migrate`.\n"
        assert runner.invoke(app, ["migrate"]).stdout.startswith("Applied 0001_journal.sql, ")
        assert json.loads(runner.invoke(app, ["migrate", "--json"]).stdout) == {"applied": []}
        assert runner.invoke(app, ["migrate"]).stdout == "The database is up to date.\n"
    finally:
        execute(server, "drop database um_cli_migrate with (force)")


@pytest.mark.usefixtures("shop")
def test_a_healthy_shop_has_nothing_to_mend(runner: CliRunner) -> None:
    code, found = findings(runner)
    assert code == 0
    assert {state for state, _ in found.values()} == {"ok"}
    assert list(found) == [
        "settings", "server", "pooler", "durability", "connections", "migrations", "partitions", "log ahead",
        "messages", "views", "disk", "secrets",
    ]  # fmt: skip
    text = runner.invoke(app, ["doctor"]).stdout
    assert "ok      durability   A commit is on disk before it is answered.\n" in text


@pytest.mark.parametrize(
    ("change", "check", "state", "detail"),
    [
        ("delete from migration where number > 1", "migrations", "failed", "Run `ultramarket migrate`"),
        ("update migration set checksum = 'x' where number = 1", "migrations", "failed", "bring the old files back"),
        ("insert into migration (number, name, checksum) values (9, 'n', 'c')", "migrations", "failed", "newer"),
        (
            "update setting set value = '8' where name = 'partitions'",
            "partitions",
            "failed",
            "made with partitions = 8",
        ),
        (
            "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
            "durability",
            "failed",
            "synchronous_commit off",
        ),
        ("drop table parked", "messages", "failed", "run `ultramarket migrate`"),
        (
            "insert into parked values ('p', 1, 'a', 0, 'b', '', '', '')",
            "messages",
            "warning",
            "ultramarket parked list",
        ),
        (
            (
                "insert into view_offset values ('v', 'a', 0); "
                "insert into view_parked (view, kind, no, seq, reason) values ('v', 'a', 0, 1, '')"
            ),
            "views",
            "warning",
            "could not be shown in v",
        ),
        (
            (
                "do $$ begin execute format('drop table %I', 'event_' || "
                "to_char((now() at time zone 'UTC') + interval '1 month', 'YYYY_MM')); end $$"
            ),
            "log ahead",
            "warning",
            "missing for the log",
        ),
    ],
)
def test_doctor_names_what_is_amiss(
    runner: CliRunner, shop: str, change: str, check: str, state: str, detail: str
) -> None:
    execute(shop, change)
    code, found = findings(runner)
    assert found[check][0] == state
    assert detail in found[check][1]
    assert code == (1 if state == "failed" else 0)


@pytest.mark.usefixtures("shop")
def test_doctor_tells_when_the_server_has_no_room_for_one_more_process(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(runner)[1]["connections"][0] == "ok"
    monkeypatch.setenv("ULTRAMARKET_DATABASE_CONNECTIONS", "500")
    state, detail = findings(runner)[1]["connections"]
    assert (state, "enough for 0 processes, 0 run" in detail) == ("warning", True)


@pytest.mark.usefixtures("shop")
def test_doctor_tells_of_secrets_that_others_can_read(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "staff.key").write_text("x")
    (tmp_path / "staff.key").chmod(0o644)
    code, found = findings(runner)
    assert code == 1
    assert found["secrets"] == ("failed", f"Other users can read them: chmod 600 {tmp_path}/staff.key")


def test_doctor_tells_of_a_database_that_is_away(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    code, found = findings(runner)
    assert code == 1
    assert found["database"][0] == "failed"
    assert found["database"][1].startswith("The database can't be reached: ")


@pytest.mark.parametrize(("free", "state"), [(3 << 30, "ok"), (1 << 30, "warning"), (100 << 20, "failed")])
def test_little_room_on_the_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": free}))
    assert checks.of_files(tmp_path)[0].state == state
