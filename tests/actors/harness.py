"""Given events, when a command, then events: what every test of an actor is written with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from ultramarket.errors import Rejection
from ultramarket.messages.common import Wake
from ultramarket.runtime.actor import Actor, Claim, Context, Decision, Part, Send

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def round_trip(value: Any, type_: Any) -> None:
    """A value is the same after it was written to the log and read again."""
    assert msgspec.json.decode(msgspec.json.encode(value), type=type_) == value


@dataclass
class Outcome:
    """What a command led to."""

    events: tuple[Any, ...] = ()
    reply: Any = None
    rejection: Rejection | None = None
    answers: tuple[Send, ...] = ()
    sends: tuple[Send, ...] = ()
    claims: tuple[Claim, ...] = ()
    drops: tuple[Claim, ...] = ()

    @property
    def code(self) -> str | None:
        return self.rejection.code if self.rejection else None

    @property
    def pointers(self) -> list[str]:
        return [fault.pointer for fault in self.rejection.errors] if self.rejection else []


@dataclass
class Entity:
    """An entity in memory, told and kept as the runtime does it; every step checks that the log says it all."""

    actor: Actor[Any, Any, Any]
    id: str = "one"
    now: datetime = NOON
    state: Any = None
    version: int = 0
    parts: dict[str, Part] = field(default_factory=dict)
    log: list[Any] = field(default_factory=list)

    def given(self, *events: Any) -> "Entity":
        """The events happened."""
        for event in events:
            self._apply(event, {name: part.value for name, part in self.parts.items()})
        self._check()
        return self

    def when(
        self, command: Any, *, now: datetime | None = None, principal: str = "guest", command_id: str = ""
    ) -> Outcome:
        """The command came."""
        self.now = now or self.now
        round_trip(command, self.actor.commands)
        ctx = self._context(command, principal, command_id or f"command-{len(self.log)}")
        decision = self.actor.decide(self.state, command, ctx)
        if isinstance(decision, Rejection):
            return Outcome(rejection=decision)
        assert isinstance(decision, Decision)
        for send in decision.answers:
            round_trip(send.command, type(send.command))
        loaded = dict(ctx.parts)
        sends: list[Send] = []
        for event in decision.events:
            changed = self._apply(event, loaded)
            loaded.update({name: part.value for name, part in changed.items()})
            sends.extend(self.actor.react(event, self.state, ctx))
        for send in sends:
            round_trip(send.command, type(send.command))
        self._check()
        return Outcome(
            events=decision.events,
            reply=decision.reply,
            answers=decision.answers,
            sends=tuple(sends),
            claims=decision.claims,
            drops=decision.drops,
        )

    @property
    def wake_at(self) -> datetime | None:
        return self.actor.wake_at(self.state)

    def shown(self, unseal: Callable[[Any], str] = lambda sealed: sealed.box) -> Any:
        return self.actor.show(self.state, self.id, self.version, unseal)

    def part(self, name: str) -> Any:
        return self.parts[name].value if name in self.parts else None

    def _context(self, command: Any, principal: str, command_id: str) -> Context:
        next_due = None
        if isinstance(command, Wake):
            dues = {name: part.due_at for name, part in self.parts.items() if part.due_at is not None}
            names = [name for name, due in dues.items() if due <= self.now]
            next_due = min((due for due in dues.values() if due > self.now), default=None)
        else:
            names = [name for name in self.actor.needs(command) if name in self.parts]
        return Context(
            id=self.id,
            version=self.version,
            now=self.now,
            principal=principal,
            command=command_id,
            parts={name: self.parts[name].value for name in names},
            next_due=next_due,
        )

    def _apply(self, event: Any, loaded: Mapping[str, Any]) -> Mapping[str, Part]:
        round_trip(event, self.actor.events)
        changed = self.actor.evolve_parts(event, loaded)
        self.state = self.actor.evolve(self.state, event)
        self.version += 1
        self.log.append(event)
        _put(self.parts, changed)
        return changed

    def _check(self) -> None:
        """The log alone gives the same state and parts, and all of it can be stored."""
        state, parts = None, {}
        for event in self.log:
            _put(parts, self.actor.evolve_parts(event, {name: part.value for name, part in parts.items()}))
            state = self.actor.evolve(state, event)
        assert state == self.state
        assert parts == self.parts
        if state is not None:
            round_trip(state, self.actor.state)
        for part in parts.values():
            round_trip(part.value, self.actor.part)


def _put(parts: dict[str, Part], changed: Mapping[str, Part]) -> None:
    for name, part in changed.items():
        if part.value is None:
            parts.pop(name, None)
        else:
            parts[name] = part
