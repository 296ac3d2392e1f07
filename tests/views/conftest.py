"""A log to write events into, and public forms as the actors would show them, without actors."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.ports.asking import Shown


class Log:
    """Appends events as a committer does: gap-free per partition, the tail moved with them."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def append(
        self,
        kind: str,
        id: str,
        version: int = 1,
        *,
        no: int = 0,
        type: str = "Happened",
        data: str = "{}",
        age: float = 0.0,
    ) -> int:
        row = await self._database.fetchrow(
            "with p as (insert into partition as p (kind, no, tail) values ($1, $2, 1)"
            "  on conflict (kind, no) do update set tail = p.tail + 1 returning tail)"
            " insert into event (kind, no, seq, id, version, type, data, at, command, actor, trace, hash)"
            " select $1, $2, tail, $3, $4, $5, $6, now() - make_interval(secs => $7), '', '', '', '' from p"
            " returning seq",
            kind,
            no,
            id,
            version,
            type,
            data,
            age,
        )
        assert row is not None
        return int(row["seq"])


class Forms:
    """Public forms by kind and id; counts what was asked."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, list[str]]] = []

    def put(self, kind: str, id: str, form: Any) -> None:
        self.of[kind, id] = form

    async def read_many(self, kind: str, ids: list[str]) -> dict[str, Shown]:
        self.asked.append((kind, sorted(ids)))
        found = {id: self.of[kind, id] for id in ids if (kind, id) in self.of}
        return {id: Shown(form, form.version) for id, form in found.items()}


@pytest.fixture
def log(database: PostgresDatabase) -> Log:
    return Log(database)


@pytest.fixture
def forms() -> Forms:
    return Forms()


@pytest.fixture
def noon() -> datetime:
    return datetime(2026, 3, 1, 12, tzinfo=UTC)
