"""Reviews as lists find them, and the ratings of a product summed up. The view holds nothing personal."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from ultramarket.domain.folding import storable
from ultramarket.messages.review import ReviewStatus, ShownReview
from ultramarket.ports.database import Connection, Database
from ultramarket.views.pages import Conditions, Key, Page, checked_limit, list_mark, page_of, read_cursor, write_cursor
from ultramarket.views.projection import LogEvent
from ultramarket.views.reading import ReadMany, newest

ReviewSort = Literal["newest", "helpful", "highest", "lowest"]

# The same version is written again: a rebuild renews what an older release wrote.
_CARDS = """
insert into review_card (id, version, product, status, rating, verified, language, helpful, created_at)
select id, version, product, status, rating, verified, language, helpful, created_at
from json_to_recordset($1::text::json) as r (
    id text, version bigint, product text, status text, rating int, verified boolean, language text, helpful int,
    created_at timestamptz
)
order by id
on conflict (id) do update set version = excluded.version, product = excluded.product, status = excluded.status,
    rating = excluded.rating, verified = excluded.verified, language = excluded.language, helpful = excluded.helpful,
    created_at = excluded.created_at
where excluded.version >= review_card.version
"""
_RATINGS = """
select rating, count(*) as reviews from review_card where product = $1 and status = 'published' group by rating
"""


class ReviewFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of reviews is asked for; everything that is set must hold.

    Attributes:
        product: id of the product; None: of all.
        status: None shows all: for staff only.
    """

    product: str | None = None
    status: ReviewStatus | None = "published"
    rating: int | None = None
    verified: bool | None = None
    language: str | None = None
    sort: ReviewSort = "newest"


class Ratings(msgspec.Struct, frozen=True):
    """The published reviews of a product.

    Attributes:
        count: how many there are.
        average: of their ratings, with one decimal, e.g. `4.3`; None where there are none.
        stars: how many gave each rating, 1 to 5, e.g. `{"1": 0, ..., "5": 12}`.
    """

    count: int
    average: str | None
    stars: dict[str, int]


class _Order(msgspec.Struct, frozen=True):
    column: str
    key: type[Key]
    direction: Literal["asc", "desc"]


_ORDERS: dict[ReviewSort, _Order] = {
    "newest": _Order("c.created_at", datetime, "desc"),
    "helpful": _Order("c.helpful::numeric", Decimal, "desc"),
    "highest": _Order("c.rating::numeric", Decimal, "desc"),
    "lowest": _Order("c.rating::numeric", Decimal, "asc"),
}


class ReviewView:
    """Projects the reviews and finds them.

    Args:
        database: where the view's table is.
        shown: reads committed public forms, `Actors.read_many`.
    """

    # The number is raised when what is written changes: under a new name the view begins at the log's beginning.
    name = "reviews.1"
    kinds = ("review",)
    tables = ("review_card",)
    needs_data = False

    def __init__(self, database: Database, shown: ReadMany) -> None:
        self._database = database
        self._shown = shown

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write the reviews that the events touched, as they are now."""
        reviews = await newest(self._shown, "review", events)
        if reviews:
            rows = [_card(form.value) for form in reviews.values()]
            await connection.execute(_CARDS, msgspec.json.encode(rows).decode())

    async def find(self, filters: ReviewFilters, limit: int = 24, cursor: str | None = None) -> Page[ShownReview]:
        """A page of reviews, each as it is now; one that staff have just taken back is left out.

        Args:
            filters: what to find, and in which order.
            limit: items, 1 to 100.
            cursor: `next` of the page before.

        Raises:
            ValueError: limit or cursor are not as they must be; the message says so to people.
            Unavailable: the database can't be reached.
        """
        sql, args = self.query(filters, checked_limit(limit), cursor)
        rows = await self._database.fetch(sql, *args)
        mark = list_mark("reviews", filters)
        page = page_of([row["id"] for row in rows], [write_cursor(mark, row["key"], row["id"]) for row in rows], limit)
        forms = await self._shown("review", list(page.items)) if page.items else {}
        found = (forms[id].value for id in page.items if id in forms)
        return Page(items=tuple(it for it in found if filters.status in (None, it.status)), next=page.next)

    async def ratings(self, product: str) -> Ratings:
        """The ratings of a product's published reviews.

        Raises:
            Unavailable: the database can't be reached.
        """
        rows = await self._database.fetch(_RATINGS, product)
        stars = {str(star): 0 for star in range(1, 6)} | {str(row["rating"]): row["reviews"] for row in rows}
        count = sum(stars.values())
        total = sum(int(star) * reviews for star, reviews in stars.items())
        return Ratings(count, f"{Decimal(total) / count:.1f}" if count else None, stars)

    def query(self, filters: ReviewFilters, limit: int, cursor: str | None) -> tuple[str, list[Any]]:
        """The statement of a page and one item more, and its parameters.

        Raises:
            ValueError: as `find`.
        """
        order = _ORDERS[filters.sort]
        conditions = Conditions()
        if filters.product is not None:
            conditions.add("c.product = {it}", it=storable(filters.product, "product"))
        if filters.status is not None:
            conditions.add("c.status = {it}", it=filters.status)
        if filters.rating is not None:
            conditions.add("c.rating = {it}", it=filters.rating)
        if filters.verified is not None:
            conditions.add("c.verified = {it}", it=filters.verified)
        if filters.language is not None:
            conditions.add("c.language = {it}", it=storable(filters.language, "language"))
        if cursor is not None:
            key, id = read_cursor(cursor, list_mark("reviews", filters), order.key)
            comparison = ">" if order.direction == "asc" else "<"
            conditions.add(f"({order.column}, c.id) {comparison} ({{key}}, {{id}})", key=key, id=id)
        sql = (
            f"select c.id, {order.column} as key from review_card c where {conditions.sql()} "  # noqa: S608 - only text of this module; values are parameters
            f"order by {order.column} {order.direction}, c.id {order.direction} "
            f"limit {conditions.parameter(limit + 1)}"
        )
        return sql, conditions.args


def _card(review: ShownReview) -> dict[str, Any]:
    return {
        "id": review.id,
        "version": review.version,
        "product": review.product,
        "status": review.status,
        "rating": review.rating,
        "verified": review.verified,
        "language": review.language,
        "helpful": review.helpful,
        "created_at": review.created_at,
    }
