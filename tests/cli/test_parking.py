import asyncio
import json

import asyncpg
import pytest
from typer.testing import CliRunner

from ultramarket.cli import app

ROWS = """
insert into parked (message, n, kind, no, id, source, body, reason, at) values
('cart/a/3/0', 7, 'order', 4, 'o1', 'cart:a', '{"source":"cart:a","body":{"x":1}}', 'ValueError: no',
  '2026-05-06 07:08Z'),
('cart/b/1/0', 3, 'order', 5, 'o2', 'cart:b', '{}', 'TypeError: what', '2026-05-06 07:09Z')
"""


@pytest.fixture
def shop(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", dsn)
    return dsn


def ask(dsn: str, sql: str) -> list[tuple[object, ...]]:
    async def run() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(dsn)
        rows = await connection.fetch(sql)
        await connection.close()
        return [tuple(row) for row in rows]

    return asyncio.run(run())


def test_an_empty_list_says_so(runner: CliRunner, shop: str) -> None:  # noqa: ARG001 - the shop is in the settings
    assert runner.invoke(app, ["parked", "list"]).stdout == "No message is parked.\n"
    assert json.loads(runner.invoke(app, ["parked", "list", "--json"]).stdout) == []


def test_the_list_is_in_the_order_of_the_messages(runner: CliRunner, shop: str) -> None:
    ask(shop, ROWS)
    said = json.loads(runner.invoke(app, ["parked", "list", "--json"]).stdout)
    assert [row["message"] for row in said] == ["cart/b/1/0", "cart/a/3/0"]
    assert said[1] == {
        "message": "cart/a/3/0",
        "n": 7,
        "kind": "order",
        "no": 4,
        "id": "o1",
        "source": "cart:a",
        "reason": "ValueError: no",
        "at": "2026-05-06T07:08:00Z",
    }
    assert runner.invoke(app, ["parked", "list"]).stdout.splitlines()[2].split() == [
        "cart/a/3/0", "order:o1", "2026-05-06", "07:08:00", "ValueError:", "no",
    ]  # fmt: skip


def test_one_is_shown_with_what_it_says(runner: CliRunner, shop: str) -> None:
    ask(shop, ROWS)
    said = json.loads(runner.invoke(app, ["parked", "show", "cart/a/3/0"]).stdout)
    assert said["body"] == {"source": "cart:a", "body": {"x": 1}}
    missing = runner.invoke(app, ["parked", "show", "nothing"])
    assert missing.exit_code == 1
    assert missing.stderr == ("Error: No message nothing is parked; `ultramarket parked list` shows those that are.\n")


def test_a_retried_message_is_back_in_the_outbox_at_its_old_place(runner: CliRunner, shop: str) -> None:
    ask(shop, ROWS)
    assert runner.invoke(app, ["parked", "retry", "cart/a/3/0"]).stdout == "1 retried.\n"
    assert ask(shop, "select message, n, kind, no, id, body from outbox") == [
        ("cart/a/3/0", 7, "order", 4, "o1", '{"source":"cart:a","body":{"x":1}}')
    ]
    assert ask(shop, "select message from parked") == [("cart/b/1/0",)]


def test_all_can_be_retried_at_once(runner: CliRunner, shop: str) -> None:
    ask(shop, ROWS)
    result = runner.invoke(app, ["parked", "retry", "--all", "--json"])
    assert sorted(json.loads(result.stdout)["retried"]) == ["cart/a/3/0", "cart/b/1/0"]
    assert ask(shop, "select message from outbox order by n") == [("cart/b/1/0",), ("cart/a/3/0",)]
    assert ask(shop, "select 1 from parked") == []


def test_with_one_unknown_message_none_is_retried(runner: CliRunner, shop: str) -> None:
    ask(shop, ROWS)
    assert runner.invoke(app, ["parked", "retry", "cart/a/3/0", "nothing"]).exit_code == 1
    assert len(ask(shop, "select 1 from parked")) == 2


@pytest.mark.parametrize("arguments", [[], ["--all", "cart/a/3/0"]])
def test_what_to_retry_has_to_be_said_in_one_way(runner: CliRunner, shop: str, arguments: list[str]) -> None:  # noqa: ARG001 - the shop is in the settings
    assert runner.invoke(app, ["parked", "retry", *arguments]).exit_code == 2


def test_dropping_asks_first(runner: CliRunner, shop: str) -> None:
    ask(shop, ROWS)
    assert runner.invoke(app, ["parked", "drop", "cart/a/3/0"], input="n\n").exit_code == 1
    assert len(ask(shop, "select 1 from parked")) == 2
    assert runner.invoke(app, ["parked", "drop", "cart/a/3/0"], input="y\n").exit_code == 0
    assert runner.invoke(app, ["parked", "drop", "cart/b/1/0", "--yes"]).stdout == "1 dropped.\n"
    assert ask(shop, "select 1 from parked") == []
    assert ask(shop, "select 1 from outbox") == []
    assert runner.invoke(app, ["parked", "drop", "cart/b/1/0", "--yes"]).exit_code == 1
