from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from ultramarket.errors import Unavailable
from ultramarket.ports.asking import Shown
from ultramarket.views.projection import LogEvent
from ultramarket.views.reading import newest


class Form(NamedTuple):
    version: int


class Owner:
    """Shows each id at the versions it is given, one a call; the last one stays. None is not there yet."""

    def __init__(self, **versions: list[int | None]) -> None:
        self._versions = versions
        self.asked: list[list[str]] = []

    async def read_many(self, _kind: str, ids: list[str]) -> dict[str, Shown]:
        self.asked.append(ids)
        found = {}
        for id in ids:
            left = self._versions.get(id, [None])
            version = left.pop(0) if len(left) > 1 else left[0]
            if version is not None:
                found[id] = Shown(Form(version), version)
        return found


def touched(id: str, version: int, kind: str = "product") -> LogEvent:
    return LogEvent(kind=kind, no=0, seq=1, id=id, version=version, type="Happened", at=datetime.now(UTC))


async def test_each_entity_is_read_once_whatever_happened_to_it() -> None:
    owner = Owner(a=[3], b=[1])
    found = await newest(owner.read_many, "product", [touched("a", 1), touched("a", 3), touched("b", 1)])
    assert {id: shown.version for id, shown in found.items()} == {"a": 3, "b": 1}
    assert owner.asked == [["a", "b"]]


async def test_events_of_another_kind_read_nothing() -> None:
    owner = Owner()
    assert await newest(owner.read_many, "product", [touched("a", 1, "order")]) == {}
    assert owner.asked == []


async def test_an_owner_that_hears_of_its_commit_a_moment_later_is_read_again() -> None:
    owner = Owner(a=[1, 2], b=[None, None, 1], c=[1])
    found = await newest(owner.read_many, "product", [touched("a", 2), touched("b", 1), touched("c", 1)])
    assert {id: shown.version for id, shown in found.items()} == {"a": 2, "b": 1, "c": 1}
    assert owner.asked == [["a", "b", "c"], ["a", "b"], ["b"]]


async def test_a_form_that_stays_older_than_its_event_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="read at version 1, the log has 2"):
        await newest(Owner(a=[1]).read_many, "product", [touched("a", 2)])


async def test_an_entity_that_does_not_exist_is_an_error_that_parks() -> None:
    with pytest.raises(LookupError):
        await newest(Owner().read_many, "product", [touched("a", 1)])
