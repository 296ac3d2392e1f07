"""Review: one buyer's word on one product, judged by staff, and the votes of those who read it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import assert_never

import msgspec

from ultramarket.domain.texts import control_fault
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.common import Sealed
from ultramarket.messages.refusals import invalid, not_found, version_mismatch
from ultramarket.messages.review import (
    JudgeReview,
    ReviewJudged,
    ReviewKept,
    ReviewStatus,
    ReviewVoted,
    ReviewWritten,
    ShownReview,
    VoteReview,
    WriteReview,
)
from ultramarket.runtime.actor import Actor, Claim, Context, Decision, Part, Unseal

Command = WriteReview | JudgeReview | VoteReview
Event = ReviewWritten | ReviewJudged | ReviewVoted

MOST_STARS = 5
MAX_TITLE = 200
MAX_BODY = 5_000
MAX_NOTE = 2_000
"""Characters of the shop's answer, and of the reason for staff."""


class Vote(msgspec.Struct, frozen=True):
    """An entity part: what one reader found."""

    helpful: bool


class ReviewState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A review as it stands; `helpful` and `unhelpful` count the votes, which are parts."""

    product: str
    rating: int
    title: str = ""
    body: str = ""
    author: Sealed
    language: str
    verified: bool = False
    status: ReviewStatus = "pending"
    reason: str = ""
    answer: str = ""
    helpful: int = 0
    unhelpful: int = 0
    created_at: datetime
    updated_at: datetime


class Review(Actor[ReviewState, Command, Event]):
    """Written once, judged by staff, voted on by those who read it."""

    kind = "review"
    state = ReviewState
    commands = Command
    events = Event
    part = Vote

    def needs(self, command: Command) -> Iterable[str]:
        """The vote that is changed."""
        return (_vote(command.voter),) if isinstance(command, VoteReview) else ()

    def decide(self, state: ReviewState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        match command:
            case WriteReview():
                return _write(state, command, ctx)
            case JudgeReview():
                if state is None:
                    return not_found("review")
                return version_mismatch(command.expect, ctx.version) or _judge(state, command, ctx)
            case VoteReview():
                if state is None or state.status != "published":
                    return not_found("review")
                return _voted(command, ctx)
            case _:
                assert_never(command)

    def evolve(self, state: ReviewState | None, event: Event) -> ReviewState:
        """Apply an event."""
        if isinstance(event, ReviewWritten):
            written = event.review
            return ReviewState(
                product=written.product,
                rating=written.rating,
                title=written.title,
                body=written.body,
                author=written.author,
                language=written.language,
                verified=written.order is not None,
                created_at=event.at,
                updated_at=event.at,
            )
        if state is None:
            raise ValueError(f"{type(event).__name__} stands before the review")
        match event:
            case ReviewJudged():
                return msgspec.structs.replace(
                    state, status=event.status, reason=event.reason, answer=event.answer, updated_at=event.at
                )
            case ReviewVoted():
                return msgspec.structs.replace(
                    state,
                    helpful=state.helpful + (event.helpful is True) - (event.before is True),
                    unhelpful=state.unhelpful + (event.helpful is False) - (event.before is False),
                )
            case _:
                assert_never(event)

    def evolve_parts(self, event: Event, parts: Mapping[str, Vote]) -> Mapping[str, Part]:
        """The vote that an event changes."""
        if not isinstance(event, ReviewVoted):
            return {}
        return {_vote(event.voter): Part(None if event.helpful is None else Vote(event.helpful))}

    def subject(self, state: ReviewState) -> str:
        """Whose key seals the author's name: each review has its own, so that one can be erased by itself."""
        return state.author.subject

    def show(self, state: ReviewState, id: str, version: int, unseal: Unseal) -> ShownReview:
        """The public form."""
        return ShownReview(
            id=id,
            version=version,
            product=state.product,
            rating=state.rating,
            title=state.title,
            body=state.body,
            author=unseal(state.author),
            language=state.language,
            verified=state.verified,
            status=state.status,
            reason=state.reason,
            answer=state.answer,
            helpful=state.helpful,
            unhelpful=state.unhelpful,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


def _vote(voter: str) -> str:
    return f"vote:{voter}"


def _write(state: ReviewState | None, command: WriteReview, ctx: Context) -> Decision | Rejection:
    if state is not None:
        return Rejection("review_exists", "There is a review with this id already.")
    if wrong := list(_faults(command)):
        return invalid(wrong)
    claims = (Claim("review", f"{command.order}/{command.product}"),) if command.order is not None else ()
    event = ReviewWritten(at=ctx.now, review=command)
    return Decision(events=(event,), reply=ReviewKept(id=ctx.id, version=ctx.version + 1), claims=claims)


def _faults(command: WriteReview) -> Iterable[Fault]:
    if not 1 <= command.rating <= MOST_STARS:
        yield Fault("/rating", f"a rating is 1 to {MOST_STARS}")
    yield from _text("/title", command.title, MAX_TITLE, lines=False)
    yield from _text("/body", command.body, MAX_BODY)


def _text(pointer: str, text: str, longest: int, *, lines: bool = True) -> Iterable[Fault]:
    if len(text) > longest:
        yield Fault(pointer, f"at most {longest} characters are possible")
    if fault := control_fault(text, lines=lines):
        yield Fault(pointer, fault)


def _judge(state: ReviewState, command: JudgeReview, ctx: Context) -> Decision | Rejection:
    wrong = [*_text("/reason", command.reason or "", MAX_NOTE), *_text("/answer", command.answer or "", MAX_NOTE)]
    if wrong:
        return invalid(wrong)
    status = command.status or state.status
    reason = state.reason if command.reason is None else command.reason
    answer = state.answer if command.answer is None else command.answer
    if (status, reason, answer) == (state.status, state.reason, state.answer):
        return Decision(reply=ReviewKept(id=ctx.id, version=ctx.version))
    event = ReviewJudged(at=ctx.now, status=status, reason=reason, answer=answer)
    return Decision(events=(event,), reply=ReviewKept(id=ctx.id, version=ctx.version + 1))


def _voted(command: VoteReview, ctx: Context) -> Decision:
    vote: Vote | None = ctx.parts.get(_vote(command.voter))
    before = None if vote is None else vote.helpful
    if before == command.helpful:
        return Decision(reply=ReviewKept(id=ctx.id, version=ctx.version))
    event = ReviewVoted(at=ctx.now, voter=command.voter, before=before, helpful=command.helpful)
    return Decision(events=(event,), reply=ReviewKept(id=ctx.id, version=ctx.version + 1))
