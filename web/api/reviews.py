"""Reviews: what buyers say of a product, shown once staff have published it."""

import hmac
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from ultramarket.domain.ids import new_id
from ultramarket.messages.product import ShownProduct
from ultramarket.messages.review import JudgeReview, ReviewStatus, ShownReview, VoteReview, WriteReview
from ultramarket.views.reviews import Ratings, ReviewFilters, ReviewSort
from web import presenters
from web.addresses import check_line
from web.answers import entity, not_modified, page
from web.bodies import Body
from web.caching import is_public
from web.finder import FINDER
from web.idempotency import WRITE
from web.listing import refuse_list, shown_writes
from web.operation import ask, operation
from web.preferences import expected_version, unchanged
from web.principal import PRINCIPAL
from web.problems import refuse
from web.product_bodies import LANGUAGE
from web.queries import Cursor, Limit, Query
from web.services import SHOP

PAID = ("paid", "partially_refunded", "refunded")
"""Payment states of an order whose goods were bought."""

Stars = Annotated[int, msgspec.Meta(ge=1, le=5)]
Tag = Annotated[str, msgspec.Meta(min_length=2, max_length=35)]


class NewReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A review; `order` is a paid order with the product, and makes it that of a verified buyer."""

    rating: Stars
    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    body: Annotated[str, msgspec.Meta(max_length=5000)] = ""
    author: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    language: Tag | None = None
    order: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


class Judgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What staff make of a review: what is sent is set, the rest stays; an empty `answer` takes it away."""

    status: ReviewStatus | None = None
    reason: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    answer: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class NewVote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether somebody found it helpful; null takes the vote back.

    `voter` is a random text of at least 22 characters that the storefront keeps for the reader: a vote under the same
    one replaces the one before.
    """

    voter: Annotated[str, msgspec.Meta(min_length=22, max_length=200)]
    helpful: bool | None


class ReviewsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which reviews are wanted; all that is given must hold."""

    rating: Stars | None = None
    verified: bool | None = None
    language: Tag | None = None
    status: Annotated[
        ReviewStatus | Literal["any"], msgspec.Meta(description="For staff: `published` is what everybody sees.")
    ] = "published"
    sort: ReviewSort = "newest"
    limit: Limit = 24
    cursor: Cursor | None = None


class ReviewPage(msgspec.Struct, frozen=True):
    """A page of reviews; `next` is the cursor of the next one."""

    items: tuple[presenters.Review, ...]
    next: str | None


class ProductReviewPage(ReviewPage, frozen=True):
    """A page of a product's reviews, with the ratings of all that are published."""

    ratings: Ratings


LIST = Query(ReviewsQuery)
NEW_REVIEW = Body(NewReview)
JUDGEMENT = Body(Judgement)
NEW_VOTE = Body(NewVote)


@operation(query=LIST, response=ProductReviewPage, consistent=True)
async def list_reviews(request: web.Request) -> web.Response:
    """List a product's reviews, with its ratings summed up."""
    query = LIST.read(request)
    product = await _product(request)
    found = await _find(request, query, product.id)
    ratings = await request.app[SHOP].reviews.ratings(product.id)
    public = request.app[SHOP].caching.public("reviews", f"product-{product.id}", vary="Prefer")
    return page(found.items, found.next, public if is_public(request) else None, ratings=ratings)


@operation(query=LIST, response=ReviewPage, staff=True, consistent=True)
async def index(request: web.Request) -> web.Response:
    """List the reviews of all products, for example those that wait for a decision."""
    found = await _find(request, LIST.read(request), None)
    return page(found.items, found.next)


@operation(body=NEW_REVIEW, response=presenters.Review, status=201, writes="review", errors=("taken", "review_exists"))
async def review(request: web.Request) -> web.Response:
    """Review a product.

    It is `pending` until staff publish it. With a paid `order` it is that of a verified buyer; one order reviews a
    product once.
    """
    shop, write = request.app[SHOP], request[WRITE]
    new = await NEW_REVIEW.read(request)
    check_line(new.title, "/title")
    check_line(new.body, "/body", lines=True)
    check_line(new.author, "/author")
    if not new.author.strip():
        refuse("invalid", "This must not be blank.", pointer="/author")
    language = (new.language or shop.channel.language).lower()
    if not LANGUAGE.fullmatch(language):
        refuse("invalid", f"{language!r} is not a language tag: use one such as en or pt-br.", pointer="/language")
    product = await _product(request)
    if new.order is not None:
        await _check_order(request, new.order, product.id)
    id = write.derived_id(shop.secret, "review") or new_id()
    seal = await shop.vault.sealer(f"review:{id}")
    command = WriteReview(
        product=product.id,
        rating=new.rating,
        title=new.title.strip(),
        body=new.body.strip(),
        author=seal(new.author.strip()),
        language=language,
        order=new.order,
    )
    answer = await ask(request, "review", id, command)
    return await _review(request, id, status=201, token=answer.token, location=f"/api/v1/reviews/{id}")


@operation(response=presenters.Review, conditional=True)
async def show(request: web.Request) -> web.Response:
    """Show a review.

    One that is not published is shown to staff and to who wrote it: its id can't be guessed.
    """
    shown = await _read(request, request.match_info["id"])
    if unchanged(request, shown.version):
        return not_modified(shown.version)
    return entity(_present(request, shown), shown.version)


@operation(body=JUDGEMENT, response=presenters.Review, writes="review", staff=True, conditional=True)
async def judge(request: web.Request) -> web.Response:
    """Publish or reject a review, or answer it."""
    given = await JUDGEMENT.read(request)
    check_line(given.reason or "", "/reason", lines=True)
    check_line(given.answer or "", "/answer", lines=True)
    command = JudgeReview(
        status=given.status, reason=given.reason, answer=given.answer, expect=expected_version(request)
    )
    id = request.match_info["id"]
    answer = await ask(request, "review", id, command)
    return await _review(request, id, token=answer.token)


@operation(body=NEW_VOTE, response=presenters.Review, writes="review")
async def vote(request: web.Request) -> web.Response:
    """Say whether a published review was helpful."""
    given = await NEW_VOTE.read(request)
    id = request.match_info["id"]
    # Of the storefront's text only a token is kept, another one for each review: nobody can be followed by it.
    voter = hmac.digest(request.app[SHOP].secret, f"vote {id} {given.voter}".encode(), "sha256").hex()[:40]
    answer = await ask(request, "review", id, VoteReview(voter=voter, helpful=given.helpful))
    return await _review(request, id, token=answer.token)


async def _find(request: web.Request, query: ReviewsQuery, product: str | None) -> ReviewPage:
    if query.status != "published" and not request[PRINCIPAL].staff:
        refuse("credentials_required", "Reviews that are not published are for staff.")
    await shown_writes(request)
    filters = ReviewFilters(
        product=product,
        status=None if query.status == "any" else query.status,
        rating=query.rating,
        verified=query.verified,
        language=None if query.language is None else query.language.lower(),
        sort=query.sort,
    )
    try:
        found = await request.app[SHOP].reviews.find(filters, query.limit, query.cursor)
    except ValueError as error:
        refuse_list(error)
    return ReviewPage(items=tuple(_present(request, item) for item in found.items), next=found.next)


async def _product(request: web.Request) -> ShownProduct:
    """The product of the address; one that is not published is there for staff alone."""
    product = await request.app[FINDER].find(request.match_info["id"])
    if product is None or (product.status != "published" and not request[PRINCIPAL].staff):
        refuse("not_found", "There is no such product.")
    return product


async def _check_order(request: web.Request, id: str, product: str) -> None:
    """Refuse an order that does not show that the product was bought.

    Raises:
        Refused: 422 `invalid`.
    """
    shown = await request.app[SHOP].actors.read("order", id)
    bought = shown is not None and shown.value.payment_status in PAID
    if not bought or shown is None or all(line.product != product for line in shown.value.lines):
        refuse("invalid", "There is no paid order with this id that has the product.", pointer="/order")


async def _read(request: web.Request, id: str) -> ShownReview:
    shown = await request.app[SHOP].actors.read("review", id)
    if shown is None:
        refuse("not_found", "There is no such review.")
    found: ShownReview = shown.value
    return found


async def _review(
    request: web.Request, id: str, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    """The review as it is after a write."""
    shown = await _read(request, id)
    request[WRITE].subject = f"review:{id}"
    return entity(_present(request, shown), shown.version, status=status, token=token, location=location)


def _present(request: web.Request, shown: ShownReview) -> presenters.Review:
    return presenters.review(shown, staff=request[PRINCIPAL].staff)
