import asyncio
import gc
from typing import Any

import pytest

from ultramarket.errors import Unavailable
from ultramarket.ports.journal import JournalLost, Loaded, StoredEntity
from ultramarket.runtime import showing as showing_module
from ultramarket.runtime.actor import Actor
from ultramarket.runtime.memory import Entity
from ultramarket.runtime.reader import Reader
from ultramarket.runtime.showing import Showcase


class Shaky:
    """A journal whose connection breaks as often as it is told."""

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1
        await asyncio.sleep(0)

    async def close(self) -> None:
        pass

    def _answer(self, value: Any) -> Any:
        if self.breaks:
            self.breaks -= 1
            raise JournalLost("gone")
        return value

    async def load(self, _wanted: Any) -> Loaded:
        return self._answer(Loaded())  # type: ignore[no-any-return]

    async def taken_claims(self, claims: Any) -> dict[Any, Any]:
        return self._answer(dict.fromkeys(claims, ("product", "p")))  # type: ignore[no-any-return]

    async def numbers(self, _sequence: str, count: int) -> list[int]:
        return self._answer(list(range(7, 7 + count)))  # type: ignore[no-any-return]

    async def history(self, _kind: str, _id: str) -> Any:
        self._answer(None)
        yield


def reader(breaks: int) -> tuple[Reader, Shaky]:
    journal = Shaky(breaks)
    return Reader(journal), journal  # type: ignore[arg-type]  # the part of a journal that a reader uses


async def test_what_a_broken_connection_did_not_answer_is_asked_again_over_a_new_one() -> None:
    read, journal = reader(1)
    assert await read.holder("sku", "A") == ("product", "p")
    journal.breaks = 1
    assert await read.number("order_number") == 7
    journal.breaks = 1
    assert await read.load([("cart", "c")]) == Loaded()
    assert journal.opened == 3


async def test_a_database_that_stays_away_is_told() -> None:
    read, _ = reader(100)
    with pytest.raises(Unavailable):
        await read.holder("sku", "A")
    with pytest.raises(Unavailable):
        await read.number("order_number")
    with pytest.raises(Unavailable):
        await read.load([("cart", "c")])


async def test_a_closed_reader_opens_nothing_any_more() -> None:
    read, journal = reader(1)
    await read.close()
    with pytest.raises(Unavailable):
        await read.number("order_number")
    assert journal.opened == 0


class Old(Actor[Any, Any, Any]):
    kind, state, commands, events, shape = "old", dict[str, int], None, None, 2

    def show(self, state: Any, id: str, version: int, unseal: Any) -> Any:  # noqa: ARG002 - nothing is sealed
        return (id, version, state)


async def test_a_history_that_can_not_be_read_is_told() -> None:
    read, _ = reader(1)
    with pytest.raises(Unavailable):
        await read.entity(Old(), None, "x", StoredEntity(1, 1, b"", "{}"))  # type: ignore[arg-type]  # never decoded


async def test_the_oldest_public_forms_are_let_go_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing_module, "KEPT_BYTES", 2_500)
    showcase = Showcase(None)  # type: ignore[arg-type]  # nothing is sealed
    first = Entity({}, 1)
    shown = await showcase.show(Old(), "a", first)
    assert await showcase.show(Old(), "a", first) is shown
    await showcase.show(Old(), "b", Entity({}, 1))
    await showcase.show(Old(), "c", Entity({}, 1))
    assert await showcase.show(Old(), "a", first) is not shown


async def ask_and_go(read: Reader) -> None:
    asked = [asyncio.ensure_future(read.load([("cart", "c")])), asyncio.ensure_future(read.holder("sku", "A"))]
    await asyncio.sleep(0)
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_an_error_of_a_read_that_nobody_waits_for_any_more_is_nobodys() -> None:
    read, journal = reader(4)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await ask_and_go(read)
    for _ in range(20):
        await asyncio.sleep(0)  # both reads fail meanwhile
    assert journal.opened == 2
    gc.collect()
    assert complaints == []
