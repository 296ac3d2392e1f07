from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.domain.money import Money
from ultramarket.messages.collection import (
    ChangeCollection,
    CollectionChanged,
    CollectionCreated,
    CollectionRemoved,
    CreateCollection,
    ProductPlaced,
    ProductTakenOut,
)
from ultramarket.messages.product import (
    ChangeProduct,
    CreateProduct,
    ProductArchived,
    ProductChanged,
    ProductCreated,
    Variant,
)
from ultramarket.messages.redirect import RedirectAdded, RedirectRemoved
from ultramarket.views.projection import LogEvent
from ultramarket.views.redirects import RedirectFilters, RedirectView

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(kind: str, id: str, said: Any) -> LogEvent:
    data = msgspec.json.encode(said).decode()
    return LogEvent(kind=kind, no=0, seq=1, id=id, version=1, type=type(said).__name__, at=said.at, data=data)


def created(id: str, handle: str, minute: int = 0) -> LogEvent:
    variant = Variant(sku="S", prices=(Money(100, "USD"),))
    product = CreateProduct(handle=handle, title={"en": "Mug"}, variants=(variant,))
    return event("product", id, ProductCreated(at=NOON + timedelta(minutes=minute), product=product))


def renamed(id: str, handle: str, minute: int) -> LogEvent:
    at = NOON + timedelta(minutes=minute)
    return event("product", id, ProductChanged(at=at, changes=ChangeProduct(handle=handle)))


class Desk:
    def __init__(self, database: PostgresDatabase) -> None:
        self.view = RedirectView(database)
        self._database = database

    async def apply(self, *events: LogEvent) -> None:
        async with self._database.transaction() as connection:
            await self.view.apply(connection, events)

    async def sources(self, **filters: Any) -> list[str]:
        return [item.source for item in (await self.view.find(RedirectFilters(**filters))).items]


@pytest.fixture
def desk(database: PostgresDatabase) -> Desk:
    return Desk(database)


async def test_every_handle_that_a_product_had_leads_to_it(desk: Desk) -> None:
    await desk.apply(created("p", "a"), renamed("p", "b", 1), renamed("p", "c", 2))
    assert [await desk.view.before("product", handle) for handle in "abcd"] == ["p", "p", None, None]
    await desk.apply(renamed("p", "d", 3))
    assert await desk.view.before("product", "c") == "p"
    assert await desk.view.before("collection", "c") is None


async def test_a_collection_s_old_handle_leads_to_it_whatever_else_happens_to_it(desk: Desk) -> None:
    made = CreateCollection(handle="gifts", title={"en": "Gifts"})
    await desk.apply(
        event("collection", "c", CollectionCreated(at=NOON, collection=made)),
        event("collection", "c", ProductPlaced(at=NOON, product="p", position=0)),
        event("collection", "c", ProductTakenOut(at=NOON, product="p")),
        event("collection", "c", CollectionChanged(at=NOON, changes=ChangeCollection(handle="presents"))),
        event("collection", "c", CollectionRemoved(at=NOON)),
        event("product", "p", ProductArchived(at=NOON)),
    )
    assert await desk.view.before("collection", "gifts") == "c"
    assert await desk.view.before("product", "gifts") is None


async def test_other_changes_say_nothing_about_handles(desk: Desk) -> None:
    change = ProductChanged(at=NOON, changes=ChangeProduct(vendor="Acme"))
    await desk.apply(created("p", "a"), event("product", "p", change))
    assert await desk.view.before("product", "a") is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_the_last_who_had_a_handle_is_meant_whatever_is_read_first(desk: Desk, order: Sequence[int]) -> None:
    await desk.apply(created("p", "a"), created("q", "b", 2))
    first = (renamed("p", "x", 1),)
    then = (renamed("q", "a", 3), renamed("q", "y", 4))
    for place in order:
        await desk.apply(*(first, then)[place])
    assert await desk.view.before("product", "a") == "q"


async def test_redirects_come_and_go(desk: Desk) -> None:
    later = NOON + timedelta(minutes=1)
    await desk.apply(
        event("redirect", "one", RedirectAdded(at=NOON, source="/one", target="/1")),
        event("redirect", "two", RedirectAdded(at=later, source="/two", target="/2")),
    )
    assert (await desk.view.target("/one"), await desk.view.target("/three")) == ("/1", None)
    assert await desk.sources() == ["/two", "/one"]
    assert await desk.sources(source="/one") == ["/one"]
    await desk.apply(event("redirect", "one", RedirectRemoved(at=later)))
    assert await desk.view.target("/one") is None
    await desk.apply(event("redirect", "one", RedirectAdded(at=later, source="/one", target="/other")))
    assert await desk.view.target("/one") == "/other"


async def test_redirects_are_read_page_by_page(desk: Desk) -> None:
    for n in range(3):
        added = RedirectAdded(at=NOON + timedelta(minutes=n), source=f"/{n}", target="/")
        await desk.apply(event("redirect", str(n), added))
    first = await desk.view.find(RedirectFilters(), 2)
    second = await desk.view.find(RedirectFilters(), 2, first.next)
    assert [item.source for item in (*first.items, *second.items)] == ["/2", "/1", "/0"]
    assert second.next is None
    with pytest.raises(ValueError, match="cursor"):
        await desk.view.find(RedirectFilters(source="/1"), 2, first.next)
