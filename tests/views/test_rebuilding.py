import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.errors import UltraMarketError
from ultramarket.ports.database import Connection
from ultramarket.views import rebuilding
from ultramarket.views.projection import LogEvent
from ultramarket.views.projector import Projector
from ultramarket.views.rebuilding import Rebuild, Rebuilt

SOON = 20.0
"""Seconds until a test gives up on what should happen at once."""

INDEXES = """
select i.indexname, i.indexdef, c.reloptions from pg_indexes i join pg_class c on c.relname = i.indexname
where i.tablename = 'tally' order by 1
"""


def unheard(_done: int, _total: int) -> None:
    """Nobody looks at the progress."""


class Tallies:
    """A view of states: the last version of each entity; `refuse` names ids that it can't take."""

    name = "tallies.1"
    kinds = ("cart", "order")
    needs_data = False
    tables = ("tally",)

    def __init__(self, refuse: Callable[[str], bool] = lambda _: False, mark: str = "") -> None:
        self.refuse = refuse
        self.mark = mark
        self.told: list[tuple[str, int]] = []
        self.before_apply: Callable[[], Any] | None = None

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        if self.before_apply is not None:
            await self.before_apply()
        for event in events:
            self.told.append((event.id, event.version))
            if self.refuse(event.id):
                raise LookupError(f"{event.id} can't be taken")
            await connection.execute(
                "insert into tally (id, version, mark) values ($1, $2, $3) on conflict (id) do update"
                " set version = excluded.version, mark = excluded.mark where excluded.version >= tally.version",
                event.id,
                event.version,
                self.mark,
            )


@pytest.fixture
async def tally(database: PostgresDatabase) -> None:
    await database.execute(
        "create table tally (id text primary key, version bigint not null check (version > 0), mark text default '-')"
        " with (fillfactor = 71)"
    )
    await database.execute('create index "Tally by mark" on tally (mark desc, id) where version > 1')
    await database.execute("create unique index tally_once on tally using btree (lower(id)) with (fillfactor = 72)")


async def rows(database: PostgresDatabase) -> list[tuple[str, int, str]]:
    return [tuple(row) for row in await database.fetch("select id, version, mark from tally order by id")]


async def offsets(database: PostgresDatabase) -> dict[str, int]:
    found = await database.fetch("select view, sum(seq)::int as seq from view_offset group by view")
    return {row["view"]: row["seq"] for row in found}


async def schemas(database: PostgresDatabase) -> list[str]:
    found = await database.fetch("select nspname from pg_namespace where nspname ~ 'rebuild'")
    return [row["nspname"] for row in found]


async def followed(database: PostgresDatabase, log: Any, view: Tallies, events: int = 10) -> Projector:
    """A projector that has brought the view to the end of a log with two versions of each of its entities."""
    for n in range(events):
        await log.append("cart", f"c{n // 2}", n % 2 + 1, no=n % 3)
    projector = Projector(database, [view])
    await projector.start()
    for no in range(3):
        assert await projector.wait("cart", no, len(range(no, events, 3)), SOON)
    return projector


@pytest.mark.usefixtures("tally")
async def test_the_new_tables_take_the_place_of_the_old_with_all_that_belongs_to_them(
    database: PostgresDatabase, log: Any
) -> None:
    projector = await followed(database, log, Tallies(mark="old"))
    await projector.stop()
    before = [tuple(row) for row in await database.fetch(INDEXES)]
    progress: list[tuple[int, int]] = []
    done = await Rebuild(database, Tallies(mark="new")).run(lambda *seen: progress.append(seen))
    assert done == Rebuilt(view="tallies.1", events=10, parked=0)
    assert progress[0] == (0, 10)
    assert progress[-1] == (10, 10)
    assert await rows(database) == [(f"c{n}", 2, "new") for n in range(5)]
    assert [tuple(row) for row in await database.fetch(INDEXES)] == before
    options = await database.fetchrow("select reloptions from pg_class where oid = 'tally'::regclass")
    assert options is not None
    assert options["reloptions"] == ["fillfactor=71"]
    columns = await database.fetchrow(
        "select column_default, (select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = 'tally'::regclass and contype = 'c') as checked"
        " from information_schema.columns where table_name = 'tally' and column_name = 'mark'"
    )
    assert columns is not None
    assert tuple(columns) == ("'-'::text", "CHECK ((version > 0))")
    assert await offsets(database) == {"tallies.1": 10}
    assert await schemas(database) == []


@pytest.mark.usefixtures("tally")
async def test_what_happens_meanwhile_is_in_the_new_tables_and_followed_on(
    database: PostgresDatabase, log: Any
) -> None:
    serving = await followed(database, log, Tallies(mark="old"))
    rebuilt = Tallies(mark="new")
    writes = iter(range(1, 40))

    async def write() -> None:
        n = next(writes, None)
        if n is not None:
            await log.append("order", f"o{n:02}", no=5)

    rebuilt.before_apply = write
    await Rebuild(database, rebuilt).run(unheard)
    last = await log.append("order", "o99", no=5)
    serving.wake()
    assert await serving.wait("order", 5, last, SOON)
    await serving.stop()
    found = await rows(database)
    assert [row for row in found if row[0].startswith("c")] == [(f"c{n}", 2, "new") for n in range(5)]
    assert len([row for row in found if row[0].startswith("o")]) == last
    assert await offsets(database) == {"tallies.1": 10 + last}


@pytest.mark.usefixtures("tally")
async def test_an_event_that_a_later_one_overtook_is_not_asked_about(database: PostgresDatabase, log: Any) -> None:
    await database.execute(
        "insert into entity (kind, id, version, shape, head, state) values ('cart', 'c0', 2, 1, '', '{}')"
    )
    await (await followed(database, log, Tallies(), events=4)).stop()
    view = Tallies()
    await Rebuild(database, view).run(unheard)
    assert sorted(view.told) == [("c0", 2), ("c1", 1), ("c1", 2)]


@pytest.mark.usefixtures("tally")
async def test_a_rebuild_that_is_cancelled_changes_nothing(database: PostgresDatabase, log: Any) -> None:
    projector = await followed(database, log, Tallies(mark="old"))
    await projector.stop()
    view = Tallies(mark="new")
    entered = asyncio.Event()

    async def stay() -> None:
        entered.set()
        await asyncio.Event().wait()

    view.before_apply = stay
    task = asyncio.create_task(Rebuild(database, view).run(unheard))
    async with asyncio.timeout(SOON):
        await entered.wait()
    assert await schemas(database) == ["rebuild_tallies_1"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await rows(database) == [(f"c{n}", 2, "old") for n in range(5)]
    assert await offsets(database) == {"tallies.1": 10}
    assert await schemas(database) == []


@pytest.mark.usefixtures("tally")
async def test_what_one_that_was_killed_left_is_in_nobodys_way(database: PostgresDatabase, log: Any) -> None:
    await database.execute("create schema rebuild_tallies_1")
    await database.execute("create table rebuild_tallies_1.tally (id text primary key)")
    await database.execute("insert into view_offset (view, kind, no, seq) values ('tallies.1:rebuild', 'cart', 0, 4)")
    await (await followed(database, log, Tallies(mark="old"))).stop()
    await Rebuild(database, Tallies(mark="new")).run(unheard)
    assert await rows(database) == [(f"c{n}", 2, "new") for n in range(5)]
    assert await offsets(database) == {"tallies.1": 10}


@pytest.mark.usefixtures("tally")
async def test_two_do_not_rebuild_one_view(database: PostgresDatabase, log: Any) -> None:
    await (await followed(database, log, Tallies())).stop()
    view = Tallies()
    refused: list[str] = []

    async def second() -> None:
        view.before_apply = None
        with pytest.raises(UltraMarketError) as caught:
            await Rebuild(database, Tallies()).run(unheard)
        refused.append(str(caught.value))

    view.before_apply = second
    await Rebuild(database, view).run(unheard)
    assert refused == ["The view tallies.1 is being rebuilt already."]


@pytest.mark.usefixtures("tally")
async def test_what_was_parked_is_tried_again_and_what_can_not_be_taken_is_parked(
    database: PostgresDatabase, log: Any
) -> None:
    await (await followed(database, log, Tallies(lambda id: id in {"c1", "c2"}))).stop()
    assert len(await database.fetch("select * from view_parked")) == 4
    done = await Rebuild(database, Tallies(lambda id: id == "c2")).run(unheard)
    assert done == Rebuilt(view="tallies.1", events=10, parked=2)
    parked = await database.fetch("select view, reason from view_parked")
    assert [tuple(row) for row in parked] == [("tallies.1", "LookupError: c2 can't be taken")] * 2
    assert [id for id, *_ in await rows(database)] == ["c0", "c1", "c3", "c4"]


@pytest.mark.usefixtures("tally")
async def test_a_table_in_use_all_the_time_leaves_all_as_it_was(
    database: PostgresDatabase, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "SWAP_SECONDS", 0.3)
    monkeypatch.setattr(rebuilding, "SWAP_LOCK", "20ms")
    await (await followed(database, log, Tallies(mark="old"))).stop()
    async with database.transaction() as reader:
        await reader.fetch("select * from tally")
        with pytest.raises(UltraMarketError, match="nothing was changed"):
            await Rebuild(database, Tallies(mark="new")).run(unheard)
    assert await rows(database) == [(f"c{n}", 2, "old") for n in range(5)]
    assert await schemas(database) == []


@pytest.mark.usefixtures("tally")
async def test_a_table_in_use_for_a_while_is_waited_for(
    database: PostgresDatabase, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "SWAP_LOCK", "20ms")
    await (await followed(database, log, Tallies(mark="old"))).stop()
    tries = 0
    swap = Rebuild._swap
    free = asyncio.Event()

    async def counted(self: Rebuild) -> bool:
        nonlocal tries
        swapped = await swap(self)
        tries += 1
        if tries == 2:
            free.set()
        return swapped

    monkeypatch.setattr(Rebuild, "_swap", counted)

    async def read() -> None:
        async with database.transaction() as reader:
            await reader.fetch("select * from tally")
            await free.wait()

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    async with asyncio.timeout(SOON):
        await Rebuild(database, Tallies(mark="new")).run(unheard)
    await reading
    assert tries > 2
    assert await rows(database) == [(f"c{n}", 2, "new") for n in range(5)]
