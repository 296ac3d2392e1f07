"""Review: what a buyer says of a product. It is shown once staff have published it."""

from datetime import datetime
from typing import Literal

import msgspec

from ultramarket.messages.common import Message, Sealed

ReviewStatus = Literal["pending", "published", "rejected"]


# Commands


class WriteReview(Message, frozen=True, kw_only=True):
    """Write a review; it waits for staff. Replies `ReviewKept`.

    Attributes:
        product: id of the product.
        rating: 1 to 5 stars.
        author: the name that is shown, sealed under the review's own key.
        language: BCP 47 tag of title and body, in lower case.
        order: a paid order with this product, which makes it the review of a verified buyer. One order reviews a
            product once: a second one is refused with 409 `taken`.
    """

    product: str
    rating: int
    title: str = ""
    body: str = ""
    author: Sealed
    language: str
    order: str | None = None


class JudgeReview(Message, frozen=True):
    """Staff publish or reject it, or change their mind. Replies `ReviewKept`.

    Attributes:
        reason: why it was rejected, for staff.
        answer: what the shop says to it, shown below it; None leaves what is there, empty takes it away.
        status: None leaves it as it is.
        expect: refuse with 412 `version_mismatch` unless the review has this version (If-Match).
    """

    status: ReviewStatus | None = None
    reason: str | None = None
    answer: str | None = None
    expect: int | None = None


class VoteReview(Message, frozen=True):
    """Somebody found a published review helpful, or not; None takes the vote back. Replies `ReviewKept`.

    Attributes:
        voter: who, as a one-way token; a second vote of the same one replaces the first.
    """

    voter: str
    helpful: bool | None


# Events


class ReviewWritten(Message, frozen=True):
    """The review exists and is pending."""

    at: datetime
    review: WriteReview


class ReviewJudged(Message, frozen=True):
    """Staff decided, or answered; all three as they are now."""

    at: datetime
    status: ReviewStatus
    reason: str
    answer: str


class ReviewVoted(Message, frozen=True):
    """A vote was given, changed or taken back; `before` is what it was."""

    at: datetime
    voter: str
    before: bool | None
    helpful: bool | None


# Reply and the public form


class ReviewKept(msgspec.Struct, frozen=True, kw_only=True):
    """The review after a command."""

    id: str
    version: int


class ShownReview(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a review; `reason` is for staff."""

    id: str
    version: int
    product: str
    rating: int
    title: str
    body: str
    author: str
    language: str
    verified: bool
    status: ReviewStatus
    reason: str
    answer: str
    helpful: int
    unhelpful: int
    created_at: datetime
    updated_at: datetime
