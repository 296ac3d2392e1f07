from datetime import UTC, datetime
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.messages.collection import ShownCollection
from ultramarket.messages.product import ShownSeo
from ultramarket.views.collections import CollectionFilters, CollectionView
from ultramarket.views.projection import LogEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def collection(id: str, title: str, **fields: Any) -> ShownCollection:
    plain: dict[str, Any] = {
        "version": 1,
        "handle": id,
        "title": {"en": title},
        "description": {},
        "seo": ShownSeo(title={}, description={}),
        "media": (),
        "published": True,
        "products": (),
        "match": "all",
        "rules": (),
        "sort": "manual",
        "removed": False,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return ShownCollection(id=id, **(plain | fields))


class Desk:
    def __init__(self, database: PostgresDatabase, forms: Any) -> None:
        self.view = CollectionView(database, forms.read_many)
        self._database = database
        self._forms = forms

    async def put(self, *shown: ShownCollection) -> None:
        for form in shown:
            self._forms.put("collection", form.id, form)
        events = [
            LogEvent(kind="collection", no=0, seq=1, id=form.id, version=form.version, type="Happened", at=NOON)
            for form in shown
        ]
        async with self._database.transaction() as connection:
            await self.view.apply(connection, events)


@pytest.fixture
def desk(database: PostgresDatabase, forms: Any) -> Desk:
    return Desk(database, forms)


async def test_collections_are_listed_by_title_page_by_page(desk: Desk) -> None:
    await desk.put(collection("x", "École"), collection("y", "apples"), collection("z", "Zebras"))
    first = await desk.view.find(CollectionFilters(), 2)
    second = await desk.view.find(CollectionFilters(), 2, first.next)
    assert [item.id for item in (*first.items, *second.items)] == ["y", "x", "z"]
    assert (first.items[0], second.next) == (collection("y", "apples"), None)
    with pytest.raises(ValueError, match="cursor"):
        await desk.view.find(CollectionFilters(published=None), 2, first.next)


async def test_what_is_not_published_is_for_staff_and_what_is_removed_for_nobody(desk: Desk) -> None:
    await desk.put(collection("x", "X"), collection("y", "Y", published=False), collection("z", "Z"))
    await desk.put(collection("z", "Z", version=2, removed=True))
    assert [item.id for item in (await desk.view.find(CollectionFilters())).items] == ["x"]
    assert [item.id for item in (await desk.view.find(CollectionFilters(published=None))).items] == ["x", "y"]
