"""A turn: the commands that wait for one entity, judged one after the other in memory, to be committed at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import msgspec
import structlog

from ultramarket.errors import Rejection, UltraMarketError, Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import DROP, KEEP, EventRow, Loaded, OutboxRow, PartRow, ReplyRow, TurnRows
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.actor import Actor, Context, Decision, Part, Send
from ultramarket.runtime.codec import (
    ANSWER_LIMIT,
    STATE_LIMIT,
    Chain,
    KindCodec,
    StoredMessage,
    Unstorable,
    decode_answer,
    encode,
    encode_answer,
)
from ultramarket.runtime.memory import Entity
from ultramarket.runtime.partitioning import partition_of, token

log = structlog.get_logger()


@dataclass(slots=True)
class Failure:
    """A delivery whose actor raised an exception: a bug or a poisoned message."""

    delivery: Delivery
    error: Exception


@dataclass(slots=True)
class Turn:
    """What came of an entity's deliveries.

    Attributes:
        rows: what the commit writes; the events' seq is still relative to the turn's first.
        entity: the entity as it is once the commit holds.
        parts: the parts that changed, None for a dropped one.
        taken: every delivery that is settled by this turn.
        answers: (delivery, answer, length of `rows.events` when it was judged) in order.
        sends: the messages that go on after the commit.
        failures: deliveries whose actor raised.
        deferred: messages whose source had a failure before them: they must not overtake it.
        postponed: messages that only a newer version of the program can take: they stay in the outbox.
        early: messages that came before an earlier one of their pair: a sweep brings both in order.
        repeats: keys that were used before: what was kept under them stays.
        more_due: a wake-up got as many due parts as fit, and others are due as well.
        claimed: every claim that a command of the turn made, kept or given back: all must be free or ours.
    """

    rows: TurnRows
    entity: Entity
    parts: dict[str, Any] = field(default_factory=dict)
    taken: list[Delivery] = field(default_factory=list)
    answers: list[tuple[Delivery, Answer | Exception, int]] = field(default_factory=list)
    sends: list[Delivery] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    deferred: list[Delivery] = field(default_factory=list)
    postponed: list[Delivery] = field(default_factory=list)
    early: list[Delivery] = field(default_factory=list)
    repeats: set[str] = field(default_factory=set)
    claimed: set[tuple[str, str]] = field(default_factory=set)
    more_due: bool = False

    @classmethod
    def nothing(cls, kind: str, no: int, id: str) -> Self:
        """A turn that touches no entity yet."""
        return cls(TurnRows(kind, no, id, 0, 0), Entity())

    def writes(self) -> bool:
        """Whether there is anything to commit."""
        rows = self.rows
        return bool(rows.events or rows.outbox or rows.taken or self.keyed())

    def keyed(self) -> list[tuple[Delivery, Answer, int]]:
        """The answers that are kept under their client's key."""
        return [
            (delivery, answer, count)
            for delivery, answer, count in self.answers
            if delivery.key is not None and delivery.key not in self.repeats and isinstance(answer, Answer)
        ]

    def number(self, seq: int) -> int:
        """Give the events their seq, following `seq`, and write the answers, which name it; gives the new tail."""
        rows = self.rows
        for place, event in enumerate(rows.events, seq + 1):
            event.seq = place
        for at, (delivery, answer, count) in enumerate(self.answers):
            if count and isinstance(answer, Answer) and not answer.replayed and answer.rejection is None:
                named = Answer(answer.value, None, token(rows.kind, rows.no, seq + count), version=answer.version)
                self.answers[at] = (delivery, named, count)
        rows.replies = [
            ReplyRow(delivery.key or "", delivery.body_hash, encode_answer(answer))
            for delivery, answer, _ in self.keyed()
        ]
        return seq + len(rows.events)


class Judge:
    """Judges the deliveries of one entity and gathers what the turn writes.

    Args:
        stalled: sources of which a message failed before in this group: their later ones must not overtake it.
        careful: check after each command that the state can be stored, not just once at the end of the turn.
    """

    def __init__(
        self,
        actor: Actor[Any, Any, Any],
        codecs: Mapping[str, KindCodec],
        entity: Entity,
        id: str,
        no: int,
        now: datetime,
        stalled: Iterable[str] = (),
        *,
        careful: bool = False,
    ) -> None:
        self._actor = actor
        self._codecs = codecs
        self._codec = codecs[actor.kind]
        self._now = now
        self._seconds = now.timestamp()
        self._stalled = set(stalled)
        self._early: set[str] = set()
        self._passed: dict[str, int] = {}
        self._careful = careful
        self._state = entity.state
        self._version = entity.version
        self._head = entity.head
        self._base = entity
        self._changed: dict[str, Part] = {}
        self._claims: dict[tuple[str, str], bool] = {}
        self._rows = TurnRows(actor.kind, no, id, entity.version, entity.version)
        self._turn = Turn(self._rows, entity)

    def take(self, delivery: Delivery, loaded: Loaded) -> None:
        """Judge one delivery."""
        if delivery.message is not None and delivery.source in self._stalled:
            self._turn.deferred.append(delivery)
            return
        if delivery.message is not None and self._is_early(delivery, loaded):
            self._turn.early.append(delivery)
            return
        try:
            if not self._settled(delivery, loaded):
                self._judge(delivery, self._context(delivery, loaded))
        except Exception as error:  # noqa: BLE001 - an actor's bug must stop neither its neighbours nor the partition
            if isinstance(error, Unstorable) and delivery.message is None:
                self._refuse(delivery, Rejection("too_large_or_bad_text", str(error), 422))
                return
            self._turn.failures.append(Failure(delivery, error))
            if delivery.message is not None:
                self._stalled.add(delivery.source)

    def finish(self) -> Turn:
        """The turn, ready to be numbered and committed."""
        turn, rows = self._turn, self._rows
        if not rows.events:
            return turn
        state = encode(self._state, STATE_LIMIT)
        rows.version, rows.head, rows.shape, rows.state = self._version, self._head, self._actor.shape, state
        for name, part in self._changed.items():
            value = None if part.value is None else encode(part.value, STATE_LIMIT)
            rows.parts.append(PartRow(name, value, part.due_at))
            turn.parts[name] = part.value
        rows.claims = [claim for claim, wanted in self._claims.items() if wanted]
        rows.drops = [claim for claim, wanted in self._claims.items() if not wanted]
        wake_at = self._actor.wake_at(self._state)
        if wake_at != self._base.wake_at:
            rows.timer = DROP if wake_at is None else wake_at
        else:
            rows.timer = KEEP
        turn.entity = Entity(
            self._state,
            self._version,
            self._head,
            len(state) + 200 * len(self._base.parts),
            wake_at,
            self._base.parts,
            self._base.complete or self._base.version == 0,
        )
        return turn

    def _is_early(self, delivery: Delivery, loaded: Loaded) -> bool:
        """Whether an earlier message of its pair is still to come: the outbox has more of them than this turn took."""
        source, message = delivery.source, delivery.message or ""
        if source in self._early or loaded.earlier.get(message, 0) > self._passed.get(source, 0):
            self._early.add(source)
            return True
        if delivery.verified or message in loaded.messages:
            self._passed[source] = self._passed.get(source, 0) + 1
        return False

    def _settled(self, delivery: Delivery, loaded: Loaded) -> bool:
        """Whether there is nothing to judge: answered before, taken before, too late, or woken too early."""
        if delivery.key is not None:
            stored = loaded.replies.get((delivery.kind, delivery.id, delivery.key))
            if stored is not None:
                self._turn.repeats.add(delivery.key)
                self._answer(delivery, replay(stored, delivery.body_hash))
                return True
        if delivery.message is not None and not delivery.verified and delivery.message not in loaded.messages:
            self._turn.taken.append(delivery)
            return True
        if delivery.deadline is not None and self._seconds > delivery.deadline:
            late = Unavailable("deadline_passed", "The command waited longer than its deadline; try again.")
            self._answer(delivery, late)
            return True
        if isinstance(delivery.command, Look):
            self._answer(delivery, Answer(version=self._version))
            return True
        if isinstance(delivery.command, Wake):
            due = None if self._state is None else self._actor.wake_at(self._state)
            if due is None or due > self._now:
                self._turn.taken.append(delivery)
                return True
        return False

    def _context(self, delivery: Delivery, loaded: Loaded) -> Context:
        next_due = None
        if isinstance(delivery.command, Wake):
            known, next_due = self._due(delivery, loaded)
            self._turn.more_due = next_due is not None and next_due <= self._now
        elif isinstance(delivery.command, (Keep, Unreadable)):
            known = {}
        else:
            known = self._needed(delivery, loaded)
        return Context(delivery.id, self._version, self._now, delivery.principal, delivery.command_id, known, next_due)

    def _needed(self, delivery: Delivery, loaded: Loaded) -> dict[str, Any]:
        """The parts that a command needs, as this turn has left them."""
        names = tuple(self._actor.needs(delivery.command))
        known = {name: self._base.parts[name] for name in names if name in self._base.parts}
        if not self._base.complete:
            key = (delivery.kind, delivery.id)
            texts = {n: loaded.parts[*key, n] for n in names if (*key, n) in loaded.parts}
            known.update(self._codec.parts(texts))
        for name, part in self._changed.items():
            if part.value is None:
                known.pop(name, None)
            elif name in names:
                known[name] = part.value
        return known

    def _due(self, delivery: Delivery, loaded: Loaded) -> tuple[dict[str, Any], datetime | None]:
        """The parts that are due, and when the next one will be: those loaded, corrected by what this turn changed."""
        key = (delivery.kind, delivery.id)
        due = self._codec.parts(loaded.due.get(key, {}))
        later = [loaded.next_due[key]] if key in loaded.next_due else []
        for name, part in self._changed.items():
            due.pop(name, None)
            if part.value is None or part.due_at is None:
                continue
            if part.due_at <= self._now:
                due[name] = part.value
            else:
                later.append(part.due_at)
        return due, min(later, default=None)

    def _judge(self, delivery: Delivery, ctx: Context) -> None:
        decision = self._decide(delivery, ctx)
        if isinstance(decision, Rejection):
            self._refuse(delivery, decision)
            return
        state, changed, sends = self._state, dict(ctx.parts), []
        parts: dict[str, Part] = {}
        for event in decision.events:
            for name, part in self._actor.evolve_parts(event, changed).items():
                parts[name] = part
                if part.value is None:
                    changed.pop(name, None)
                else:
                    changed[name] = part.value
            state = self._actor.evolve(state, event)
            sends.append(tuple(self._actor.react(event, state, ctx)))
        # Everything that may fail is done before the turn takes any of it.
        texts = [encode(event) for event in decision.events]
        messages = self._messages(delivery, decision, sends)
        answer = Answer(decision.reply, version=self._version + len(decision.events))
        if delivery.key is not None:
            encode_answer(answer, ANSWER_LIMIT)
        if self._careful and decision.events:
            self._check(state, parts)
        self._state = state
        self._changed.update(parts)
        for event, text in zip(decision.events, texts, strict=True):
            self._record(type(event).__name__, text, delivery)
        for row, onward in messages:
            self._rows.outbox.append(row)
            self._turn.sends.append(onward)
        self._claims.update({(c.namespace, c.value): False for c in decision.drops})
        self._claims.update({(c.namespace, c.value): True for c in decision.claims})
        self._turn.claimed.update((c.namespace, c.value) for c in decision.claims)
        self._answer(delivery, answer)

    def _decide(self, delivery: Delivery, ctx: Context) -> Decision | Rejection:
        if isinstance(delivery.command, Unreadable):
            raise UltraMarketError(f"this program can't read the message: {delivery.command.reason}")
        if isinstance(delivery.command, Keep):
            return Decision(reply=delivery.command.value)
        return self._actor.decide(self._state, delivery.command, ctx)

    def _check(self, state: Any, parts: Mapping[str, Part]) -> None:
        """Raise now what `finish` would raise: this command alone is at fault."""
        encode(state, STATE_LIMIT)
        self._actor.wake_at(state)
        for part in parts.values():
            encode(part.value, STATE_LIMIT)

    def _messages(
        self, delivery: Delivery, decision: Decision, sends: list[tuple[Send, ...]]
    ) -> list[tuple[OutboxRow, Delivery]]:
        """The messages that follow from the events, named by version and index, and the answers without an event."""
        source = f"{self._rows.kind}:{self._rows.id}"
        path = f"{self._rows.kind}/{self._rows.id}"
        named = [
            (f"{path}/{version}/{index}", send)
            for version, batch in enumerate(sends, self._version + 1)
            for index, send in enumerate(batch)
        ]
        if decision.answers:
            if delivery.message is None:
                raise TypeError(f"{self._rows.kind} answers a command that is no message of an actor")
            named += [(f"{delivery.message}>{index}", send) for index, send in enumerate(decision.answers)]
        for _, send in named:
            if send.kind not in self._codecs:
                raise LookupError(f"{self._rows.kind} sends to {send.kind!r}, which nobody is")
        return [outgoing(message, send, source, delivery.trace) for message, send in named]

    def _record(self, name: str, text: str, delivery: Delivery) -> None:
        self._version += 1
        rows = self._rows
        names = (rows.kind, rows.id, name, delivery.command_id, delivery.principal)
        self._head = Chain.link(self._head, names, self._version, self._now, text)
        rows.events.append(
            EventRow(
                0,
                self._version,
                name,
                text,
                self._now,
                delivery.command_id,
                delivery.principal,
                delivery.trace,
                self._head,
            )
        )

    def _refuse(self, delivery: Delivery, rejection: Rejection) -> None:
        if delivery.message is not None:
            log.warning(
                "message refused", kind=delivery.kind, id=delivery.id, source=delivery.source, code=rejection.code
            )
        answer = Answer(rejection=rejection, version=self._version)
        if delivery.key is not None:
            encode_answer(answer, ANSWER_LIMIT)
        self._answer(delivery, answer)

    def _answer(self, delivery: Delivery, answer: Answer | Exception) -> None:
        self._turn.taken.append(delivery)
        if delivery.message is not None:
            self._rows.taken.append(delivery.message)
        else:
            self._turn.answers.append((delivery, answer, len(self._rows.events)))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a message that this program can't decode; it fails, and ends up parked with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Keep:
    """A command of the runtime itself: keep this answer under the delivery's key."""

    value: Any


@dataclass(frozen=True, slots=True)
class Look:
    """A command of the runtime itself: have the entity in memory, and change nothing."""


@dataclass(frozen=True, slots=True)
class Follow:
    """A command of the runtime itself: answer as soon as the entity's version is another one than `after`."""

    after: int


def replay(stored: tuple[bytes, str], body_hash: bytes) -> Answer:
    """The answer kept under a key, or the refusal of another body under the same key."""
    if stored[0] != body_hash:
        detail = "This Idempotency-Key was used with another body; use a new key for a new request."
        return Answer(rejection=Rejection("idempotency_key_reused", detail, 422))
    return decode_answer(stored[1])


def outgoing(message: str, send: Send, source: str, trace: str) -> tuple[OutboxRow, Delivery]:
    """A message as it is stored, and as it goes on when the commit holds."""
    no = partition_of(send.kind, send.id)
    raw = encode(send.command)
    body = encode(StoredMessage(source, trace, msgspec.Raw(raw.encode())))
    onward = Delivery(
        send.kind, no, send.id, send.command, source, trace, message, message=message, source=source, verified=True
    )
    return OutboxRow(message, send.kind, no, send.id, body, source), onward
