from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.messages.review import ShownReview
from ultramarket.views.projection import LogEvent
from ultramarket.views.reviews import Ratings, ReviewFilters, ReviewView

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def review(id: str, **fields: Any) -> ShownReview:
    plain: dict[str, Any] = {
        "version": 1,
        "product": "p",
        "rating": 4,
        "title": "",
        "body": "",
        "author": "Ada",
        "language": "en",
        "verified": False,
        "status": "published",
        "reason": "",
        "answer": "",
        "helpful": 0,
        "unhelpful": 0,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return ShownReview(id=id, **(plain | fields))


class Desk:
    """The view with what is in it."""

    def __init__(self, database: PostgresDatabase, forms: Any) -> None:
        self.view = ReviewView(database, forms.read_many)
        self._database = database
        self._forms = forms

    async def put(self, *shown: ShownReview) -> None:
        for form in shown:
            self._forms.put("review", form.id, form)
        events = [
            LogEvent(kind="review", no=0, seq=1, id=form.id, version=form.version, type="Happened", at=NOON)
            for form in shown
        ]
        async with self._database.transaction() as connection:
            await self.view.apply(connection, events)

    async def ids(self, **filters: Any) -> list[str]:
        return [item.id for item in (await self.view.find(ReviewFilters(**filters), 100)).items]


@pytest.fixture
def desk(database: PostgresDatabase, forms: Any) -> Desk:
    return Desk(database, forms)


async def test_reviews_are_found_by_what_they_are(desk: Desk) -> None:
    await desk.put(
        review("a", rating=2, created_at=NOON - timedelta(days=2)),
        review("b", verified=True, language="de", helpful=3, created_at=NOON - timedelta(days=1)),
        review("c", product="q", rating=5),
        review("d", status="pending"),
    )
    assert await desk.ids() == ["c", "b", "a"]
    assert await desk.ids(product="p") == ["b", "a"]
    assert await desk.ids(status="pending") == ["d"]
    assert await desk.ids(status=None) == ["d", "c", "b", "a"]
    assert await desk.ids(rating=2) == ["a"]
    assert await desk.ids(verified=True) == ["b"]
    assert await desk.ids(language="de") == ["b"]
    assert await desk.ids(sort="helpful") == ["b", "c", "a"]
    assert await desk.ids(sort="highest") == ["c", "b", "a"]
    assert await desk.ids(sort="lowest") == ["a", "b", "c"]


@pytest.mark.parametrize("sort", ["newest", "helpful", "highest", "lowest"])
async def test_pages_follow_each_other_in_every_order(desk: Desk, sort: Any) -> None:
    await desk.put(
        *(
            review(f"r{n}", rating=n % 3 + 1, helpful=n % 2, created_at=NOON + timedelta(seconds=n % 4))
            for n in range(10)
        )
    )
    whole = await desk.ids(sort=sort)
    found: list[str] = []
    cursor = None
    while True:
        page = await desk.view.find(ReviewFilters(sort=sort), 3, cursor)
        found += [item.id for item in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert found == whole
    assert len(found) == 10


async def test_ratings_are_those_of_the_published_ones(desk: Desk) -> None:
    assert await desk.view.ratings("p") == Ratings(0, None, dict.fromkeys("12345", 0))
    await desk.put(
        review("a", rating=5),
        review("b", rating=5),
        review("c", rating=3),
        review("d", rating=1, status="rejected"),
        review("e", rating=1, product="q"),
    )
    assert await desk.view.ratings("p") == Ratings(3, "4.3", {"1": 0, "2": 0, "3": 1, "4": 0, "5": 2})
    await desk.put(review("a", rating=5, version=2, status="rejected"))
    assert (await desk.view.ratings("p")).count == 2


async def test_one_that_was_just_taken_back_is_not_shown(desk: Desk, forms: Any) -> None:
    await desk.put(review("a"), review("b"))
    forms.put("review", "a", review("a", version=2, status="rejected"))
    assert await desk.ids() == ["b"]


async def test_the_view_holds_no_name_and_no_words(desk: Desk, database: PostgresDatabase) -> None:
    await desk.put(review("a", title="Fine", body="Fits."))
    row = (await database.fetch("select c::text as everything from review_card c"))[0]
    assert "Ada" not in row["everything"]
    assert "Fits" not in row["everything"]


async def test_a_cursor_of_another_list_is_refused(desk: Desk) -> None:
    await desk.put(review("a"), review("b"))
    page = await desk.view.find(ReviewFilters(), 1)
    with pytest.raises(ValueError, match="cursor"):
        await desk.view.find(ReviewFilters(sort="helpful"), 1, page.next)
