"""Review: written once, judged by staff, voted on by those who read it."""

from datetime import timedelta
from typing import Any

import pytest

from actors.review import Review
from tests.actors.harness import NOON, Entity
from ultramarket.messages.common import Sealed
from ultramarket.messages.review import (
    JudgeReview,
    ReviewJudged,
    ReviewKept,
    ReviewVoted,
    ReviewWritten,
    VoteReview,
    WriteReview,
)
from ultramarket.runtime.actor import Claim

ADA = Sealed("review:one", "Ada")


def words(**fields: Any) -> WriteReview:
    return WriteReview(
        **{"product": "p", "rating": 4, "title": "Good", "body": "Fits.", "author": ADA, "language": "en", **fields}
    )


def written(**fields: Any) -> Entity:
    return Entity(Review()).given(ReviewWritten(at=NOON, review=words(**fields)))


def published(**fields: Any) -> Entity:
    return written(**fields).given(ReviewJudged(at=NOON, status="published", reason="", answer=""))


def test_a_review_waits_for_staff() -> None:
    it = Entity(Review())
    outcome = it.when(words())
    assert outcome.events == (ReviewWritten(at=NOON, review=words()),)
    assert outcome.reply == ReviewKept(id="one", version=1)
    assert outcome.claims == ()
    shown = it.shown()
    assert (shown.status, shown.verified, shown.author, shown.helpful) == ("pending", False, "Ada", 0)


def test_with_an_order_it_is_verified_and_the_only_one_of_that_order() -> None:
    it = Entity(Review())
    assert it.when(words(order="o")).claims == (Claim("review", "o/p"),)
    assert it.shown().verified


def test_it_is_written_once() -> None:
    assert written().when(words()).code == "review_exists"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"rating": 0}, "/rating"),
        ({"rating": 6}, "/rating"),
        ({"title": "x" * 201}, "/title"),
        ({"title": "two\nlines"}, "/title"),
        ({"body": "x" * 5001}, "/body"),
        ({"body": "a\x07bell"}, "/body"),
    ],
)
def test_what_can_not_be_kept_is_refused(fields: dict[str, Any], pointer: str) -> None:
    assert Entity(Review()).when(words(**fields)).pointers == [pointer]


def test_staff_publish_reject_and_answer() -> None:
    it = written()
    later = NOON + timedelta(hours=1)
    outcome = it.when(JudgeReview(status="published", answer="Thank you."), now=later)
    assert outcome.events == (ReviewJudged(at=later, status="published", reason="", answer="Thank you."),)
    assert (it.shown().status, it.shown().answer, it.shown().updated_at) == ("published", "Thank you.", later)
    it.when(JudgeReview(status="rejected", reason="an advertisement", answer=""))
    assert (it.shown().status, it.shown().reason, it.shown().answer) == ("rejected", "an advertisement", "")


def test_a_judgement_that_changes_nothing_records_nothing() -> None:
    outcome = published().when(JudgeReview(status="published"))
    assert (outcome.events, outcome.reply) == ((), ReviewKept(id="one", version=2))


def test_a_judgement_needs_a_review_of_the_expected_version_and_short_words() -> None:
    assert Entity(Review()).when(JudgeReview(status="published")).code == "not_found"
    assert written().when(JudgeReview(status="published", expect=7)).code == "version_mismatch"
    assert written().when(JudgeReview(answer="x" * 2001)).pointers == ["/answer"]
    assert written().when(JudgeReview(reason="x" * 2001)).pointers == ["/reason"]


def test_votes_are_counted_once_a_voter_and_can_be_changed_and_taken_back() -> None:
    it = published()
    assert it.when(VoteReview(voter="a", helpful=True)).events == (
        ReviewVoted(at=NOON, voter="a", before=None, helpful=True),
    )
    it.when(VoteReview(voter="b", helpful=False))
    assert it.when(VoteReview(voter="a", helpful=True)).events == ()
    assert (it.shown().helpful, it.shown().unhelpful) == (1, 1)
    it.when(VoteReview(voter="b", helpful=True))
    assert (it.shown().helpful, it.shown().unhelpful) == (2, 0)
    it.when(VoteReview(voter="a", helpful=None))
    assert (it.shown().helpful, it.shown().unhelpful) == (1, 0)
    assert it.part("vote:a") is None


def test_only_a_published_review_is_voted_on() -> None:
    assert written().when(VoteReview(voter="a", helpful=True)).code == "not_found"
    assert Entity(Review()).when(VoteReview(voter="a", helpful=True)).code == "not_found"


def test_the_authors_name_is_under_the_reviews_own_key() -> None:
    it = written()
    assert it.actor.subject(it.state) == "review:one"
