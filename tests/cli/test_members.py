"""The processes that share a shop, as status shows them."""

import json
import os
import pty
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from typer.testing import CliRunner

from ultramarket.cli import app
from ultramarket.cli.members import Figures, Member, with_rates

Start = Callable[..., Any]
SEEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBER = Member(
    name="um-1", role="all", host="h1", pid=7, build="0.1.0", state="owns", started_at=SEEN - timedelta(minutes=2),
    seen_at=SEEN, partitions=2, oldest_seconds=None, figures=Figures(commits=100),
)  # fmt: skip
FIGURES = {"replica": "replica-1", "mailbox": {"cart": 3, "order": 0}, "commits": 9, "commit_rate": 12.34}


async def insert_members(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """One that lives, one whose lease has run out, and one that was killed a moment ago."""
    await connection.executemany(
        "insert into member (name, role, host, pid, build, started_at, lease_until, state, figures) values ($1, $2, "
        "'h1', $3, '0.1.0', now() - interval '150 s', now() + make_interval(secs => $4), 'owns', $5)",
        [
            ("um-1", "all", 7, 600, json.dumps({**FIGURES, "memory": 120_000_000, "requests": 5})),
            ("um-2", "worker", 8, -1, "{}"),
            ("um-3", "worker", 9, 600, json.dumps({**FIGURES, "replica": "replica-3"})),
        ],
    )
    await connection.execute("select pg_advisory_lock(hashtextextended('member:um-1', 0))")
    await connection.execute(
        "insert into partition (kind, no, epoch, tail, owner) values ('cart', 0, 1, 5, 'um-1'), ('cart', 1, 1, 2, null)"
    )
    await connection.execute(
        "insert into outbox (message, kind, no, id, body, at) "
        "values ('m', 'cart', 0, 'c', '{}', now() - interval '90 s')"
    )


@pytest.fixture
async def shop(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A shop that three processes share, two of which are gone."""
    monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", dsn)
    monkeypatch.setenv("ULTRAMARKET_DATA_DIR", str(tmp_path))
    connection = await asyncpg.connect(dsn)
    await insert_members(connection)
    yield
    await connection.close()


@pytest.mark.usefixtures("shop")
def test_status_shows_who_shares_the_shop_and_who_is_gone(runner: CliRunner) -> None:
    lines = runner.invoke(app, ["status"]).stdout.splitlines()
    assert lines[0] == "Runs       1 process"
    assert [line.split("  ")[0] for line in lines[6:10]] == ["Replica", "replica-1", "um-2", "replica-3"]
    assert lines[7].split() == [
        *("replica-1", "h1", "7", "all", "owns", "1", "cart", "3", "12.3", "1", "min", "120", "MB", "2", "min")
    ]
    assert lines[8].split() == ["um-2", "h1", "8", "worker", "gone", "0", "-", "-"]
    assert lines[9].split() == ["replica-3", "h1", "9", "worker", "gone", "0", "-", "-"]


@pytest.mark.usefixtures("shop")
def test_programs_get_the_figures_of_each(runner: CliRunner) -> None:
    one, two, three = json.loads(runner.invoke(app, ["status", "--json"]).stdout)["members"]
    assert (one["name"], one["partitions"], one["figures"]["mailbox"]) == ("um-1", 1, {"cart": 3, "order": 0})
    assert 90 <= one["oldest_seconds"] < 150
    assert (two["state"], two["figures"]["commits"]) == ("gone", None)
    assert (three["state"], three["figures"]["commits"]) == ("gone", None)


def test_the_rate_is_what_came_between_two_looks() -> None:
    later = msgspec.structs.replace(MEMBER, seen_at=SEEN + timedelta(seconds=2), figures=Figures(commits=150))
    (rated,) = with_rates([later], {"um-1": MEMBER})
    assert rated.figures.commit_rate == 25.0


def test_a_rate_that_a_process_tells_itself_stays() -> None:
    later = msgspec.structs.replace(MEMBER, seen_at=SEEN + timedelta(seconds=2), figures=Figures(commit_rate=7.0))
    assert with_rates([later], {"um-1": MEMBER})[0].figures.commit_rate == 7.0


def test_a_process_seen_for_the_first_time_has_no_rate() -> None:
    assert with_rates([MEMBER], {})[0].figures.commit_rate is None


@pytest.mark.usefixtures("shop")
def test_watching_tells_again_and_again_until_interrupted(start: Start) -> None:
    process = start("status", "--watch", "--json")
    for _ in range(2):
        assert process.ready()["members"][0]["name"] == "um-1"
    assert process.end(signal.SIGINT) == (0, "")


@pytest.mark.usefixtures("shop")
def test_a_pipe_gets_one_table_after_the_other(start: Start) -> None:
    process = start("status", "--watch")
    lines = [process.popen.stdout.readline() for _ in range(9)]
    assert [line.split(" ")[0] for line in lines[2:4]] == ["Replica", "replica-1"]
    assert "1 process · outbox 1 messages, the oldest for 1 min · timers due 0 · parked 0" in lines[0]
    assert [line.split(" ")[0] for line in lines[8:9]] == ["Replica"]
    assert process.end(signal.SIGINT)[0] == 0


@pytest.mark.usefixtures("shop")
def test_a_terminal_gets_one_table_that_is_renewed(start: Start) -> None:
    ours, theirs = pty.openpty()
    process = start("status", "--watch", stdout=theirs, TERM="xterm", COLUMNS="200", LINES="40")
    os.close(theirs)
    shown = ""
    while shown.count("replica-1") < 2:
        shown += os.read(ours, 65536).decode()
    process.popen.send_signal(signal.SIGINT)
    while True:
        try:
            shown += os.read(ours, 65536).decode()
        except OSError:  # EIO: the other side is closed
            break
    os.close(ours)
    assert process.popen.wait() == 0
    assert shown.startswith("\x1b[?1049h")  # another screen, which is left again
    assert "\x1b[?1049l" in shown
