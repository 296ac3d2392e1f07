"""The processes that share a shop, as `ultramarket status` shows them: what each tells of itself with its lease."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
from rich.table import Table
from rich.text import Text

from ultramarket.adapters.postgres_membership import LIVES
from ultramarket.cli.printing import age

_MEMBERS = f"""
select m.name, m.role, m.host, m.pid, m.build, m.started_at, m.state, m.figures, {LIVES} as lives,
    coalesce(p.partitions, 0) as partitions, extract(epoch from now() - o.oldest)::float8 as oldest_seconds,
    clock_timestamp() as seen_at
from member m
left join (select owner, count(*) as partitions from partition group by owner) p on p.owner = m.name
left join (
    select p.owner, min(o.at) as oldest
    from outbox o join partition p on p.kind = o.kind and p.no = o.no
    group by p.owner
) o on o.owner = m.name
order by m.role, m.host, m.started_at, m.name
"""  # noqa: S608 - only text of the program
GONE = "gone"
"""The state of a member that lives no more."""
_COLUMNS = ("Replica", "Host", "Pid", "Role", "State", "Partitions", "Mailbox", "Commits/s", "Oldest", "Memory", "Up")
_RIGHT = {"Pid", "Partitions", "Commits/s", "Oldest", "Memory", "Up"}
_MEGABYTE = 1_000_000


class Figures(msgspec.Struct, frozen=True):
    """What a process tells of itself; what it does not tell is None.

    Attributes:
        replica: the name that its parent gave it.
        mailbox: how many messages wait, by kind.
        commits: since it started.
        commit_rate: commits a second, lately.
        memory: in bytes.
    """

    replica: str | None = None
    mailbox: dict[str, int] = {}
    commits: int | None = None
    commit_rate: float | None = None
    memory: int | None = None


class Member(msgspec.Struct, frozen=True):
    """A process; `oldest_seconds` is the age of the oldest message that its partitions still have to take."""

    name: str
    role: str
    host: str
    pid: int
    build: str
    state: str
    started_at: datetime
    seen_at: datetime
    partitions: int
    oldest_seconds: float | None
    figures: Figures


async def read_members(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Member]:
    """All that take part, and those that lately did; empty where one process has the shop alone."""
    return [_member(dict(row)) for row in await connection.fetch(_MEMBERS)]


def with_rates(members: Sequence[Member], before: Mapping[str, Member]) -> list[Member]:
    """The members with their commits a second since an earlier look, where they don't tell it themselves."""
    return [
        msgspec.structs.replace(member, figures=_rated(member, before[member.name]))
        if member.name in before
        else member
        for member in members
    ]


def members_table(members: Sequence[Member]) -> Table:
    """A line for each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in _RIGHT else "left", overflow="fold")
    for member in members:
        style = "red" if member.state == GONE else ""
        table.add_row(*(Text(cell, style) for cell in _cells(member)))
    return table


def _member(told: dict[str, Any]) -> Member:
    lives, figures = told.pop("lives"), msgspec.json.decode(told.pop("figures"), type=Figures)
    if lives:
        return msgspec.convert({**told, "figures": figures}, Member)
    return msgspec.convert({**told, "state": GONE, "figures": Figures(replica=figures.replica)}, Member)


def _rated(member: Member, earlier: Member) -> Figures:
    figures, then = member.figures, earlier.figures
    seconds = (member.seen_at - earlier.seen_at).total_seconds()
    if figures.commit_rate is not None or figures.commits is None or then.commits is None or seconds <= 0:
        return figures
    return msgspec.structs.replace(figures, commit_rate=max(figures.commits - then.commits, 0) / seconds)


def _cells(member: Member) -> tuple[str, ...]:
    figures = member.figures
    waiting = ", ".join(f"{kind} {count:,}" for kind, count in sorted(figures.mailbox.items()) if count)
    return (
        figures.replica or member.name,
        member.host,
        str(member.pid),
        member.role,
        member.state,
        f"{member.partitions:,}",
        waiting or "-",
        "" if figures.commit_rate is None else f"{figures.commit_rate:,.1f}",
        "-" if member.oldest_seconds is None else age(member.oldest_seconds),
        "" if figures.memory is None else f"{figures.memory / _MEGABYTE:,.0f} MB",
        "" if member.state == GONE else age((member.seen_at - member.started_at).total_seconds()),
    )
