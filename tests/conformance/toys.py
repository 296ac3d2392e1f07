"""Toy actors that show everything the runtime does, and the runtime set up with them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, assert_never

import msgspec

from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.adapters.postgres_journal import PostgresJournal
from ultramarket.errors import Rejection
from ultramarket.messages.common import Message, Sealed, Wake
from ultramarket.ports.journal import ANYBODY, Anybody, Journal
from ultramarket.ports.mailbox import Mailbox
from ultramarket.runtime.actor import Actor, Claim, Context, Decision, Part, Send, Unseal, Worker
from ultramarket.runtime.system import Options, Runtime


class Add(Message, frozen=True):
    n: int = 1


class Give(Message, frozen=True):
    """Take `n` from here and give it to another; refused as `poor` when there is less."""

    to: str
    n: int


class Tell(Message, frozen=True):
    """Send `Hear(n)` to each of the others."""

    to: tuple[str, ...]
    n: int
    kind: str = "toy"


class Hear(Message, frozen=True):
    n: int


class Echo(Message, frozen=True):
    """Answered to the sender without an event."""

    n: int


class SetWake(Message, frozen=True):
    at: datetime | None


class Fill(Message, frozen=True):
    """Make the state as large as wanted, or with any text."""

    text: str
    event: bool = False


class Put(Message, frozen=True):
    name: str
    value: int | None
    due_at: datetime | None = None


class Look(Message, frozen=True):
    """Changes nothing; replies the values of the parts."""

    names: tuple[str, ...] = ()
    reply: Any = None


class Own(Message, frozen=True):
    value: str


class Free(Message, frozen=True):
    value: str


class Break(Message, frozen=True):
    where: str


class Hold(Message, frozen=True):
    """Stops the wake-up from moving on."""

    stuck: bool


Command = Add | Give | Tell | Hear | Echo | SetWake | Fill | Put | Look | Own | Free | Break | Hold | Wake


class Added(Message, frozen=True):
    n: int


class Given(Message, frozen=True):
    to: str
    n: int


class Told(Message, frozen=True):
    to: tuple[str, ...]
    n: int
    kind: str


class Heard(Message, frozen=True):
    source: str
    n: int


class WakeSet(Message, frozen=True):
    at: datetime | None


class Woken(Message, frozen=True):
    parts: tuple[str, ...]
    next_due: datetime | None


class Filled(Message, frozen=True):
    size: int
    text: str = ""


class PartPut(Message, frozen=True):
    name: str
    value: int | None
    due_at: datetime | None


class Changed(Message, frozen=True):
    what: str


Event = Added | Given | Told | Heard | WakeSet | Woken | Filled | PartPut | Changed


class ToyState(msgspec.Struct, frozen=True, omit_defaults=True):
    total: int = 0
    heard: tuple[str, ...] = ()
    text: str = ""
    broken: str = ""
    wake: datetime | None = None
    woken: tuple[tuple[str, ...], ...] = ()


class ToyPart(msgspec.Struct, frozen=True):
    value: int


class Toy(Actor[ToyState, Command, Event]):
    """Does as it is told; `poison` are the numbers it can't hear."""

    kind = "toy"
    state = ToyState
    commands = Command
    events = Event
    part = ToyPart

    def __init__(self) -> None:
        self.poison: set[int] = set()
        self.tries: list[int] = []
        self.text_of_poison = "it can't be heard"
        self.stuck = False

    def decide(self, state: ToyState | None, command: Command, ctx: Context) -> Decision | Rejection:  # noqa: C901, PLR0911, PLR0912 - one case a command
        match command:
            case Add(n):
                return Decision((Added(n=n),), reply={"total": (state.total if state else 0) + n})
            case Give(to, n):
                if state is None or state.total < n:
                    return Rejection("poor", "There is less than that.")
                return Decision((Given(to=to, n=n),))
            case Tell(to, n, kind):
                return Decision((Told(to=to, n=n, kind=kind),))
            case Hear(n):
                self.tries.append(n)
                if n in self.poison:
                    raise ValueError(self.text_of_poison)
                return Decision((Heard(source=ctx.principal, n=n),))
            case Echo(n):
                kind, _, id_ = ctx.principal.partition(":")
                return Decision(answers=(Send(kind, id_, Hear(n=n)),))
            case SetWake(at):
                return Decision((WakeSet(at=at),))
            case Fill(text, event):
                return Decision((Filled(size=len(text), text=text if event else ""),) if text else ())
            case Put(name, value, due_at):
                return Decision((PartPut(name=name, value=value, due_at=due_at),))
            case Look(_, reply):
                return Decision(reply=reply or {name: part.value for name, part in sorted(ctx.parts.items())})
            case Own(value):
                return Decision((Changed(what="own"),), claims=(Claim("name", value),))
            case Free(value):
                return Decision((Changed(what="free"),), drops=(Claim("name", value),))
            case Break("reply"):
                return Decision(reply=object())
            case Break(where):
                if where == "decide":
                    raise RuntimeError("broken in decide")
                return Decision((Added(n=1), Changed(what=where)))
            case Hold(stuck):
                self.stuck = stuck
                return Decision((Changed(what="hold"),))
            case Wake():
                if self.stuck:
                    return Decision()
                return Decision((Woken(parts=tuple(sorted(ctx.parts)), next_due=ctx.next_due),))
            case _:
                assert_never(command)

    def evolve(self, state: ToyState | None, event: Event) -> ToyState:  # noqa: C901, PLR0911 - one case an event
        state = state or ToyState()
        match event:
            case Added(n):
                return msgspec.structs.replace(state, total=state.total + n)
            case Given(_, n):
                return msgspec.structs.replace(state, total=state.total - n)
            case Heard(source, n):
                return msgspec.structs.replace(state, heard=(*state.heard, f"{source} {n}"))
            case WakeSet(at):
                return msgspec.structs.replace(state, wake=at)
            case Woken(parts, next_due):
                return msgspec.structs.replace(state, wake=next_due, woken=(*state.woken, parts))
            case Filled(size):
                return msgspec.structs.replace(state, text="x" * size)
            case PartPut(due_at=due_at) if due_at is not None:
                return msgspec.structs.replace(state, wake=min(state.wake or due_at, due_at))
            case Changed("evolve"):
                raise RuntimeError("broken in evolve")
            case Changed("wake_at" | "state"):
                return msgspec.structs.replace(state, broken=event.what)
            case Told() | PartPut() | Changed():
                return state
            case _:
                assert_never(event)

    def evolve_parts(self, event: Event, parts: Mapping[str, Any]) -> Mapping[str, Part]:
        if isinstance(event, Woken):
            return dict.fromkeys(event.parts, Part(None))
        if isinstance(event, PartPut):
            assert event.name not in parts or isinstance(parts[event.name], ToyPart)
            return {event.name: Part(None if event.value is None else ToyPart(event.value), event.due_at)}
        return {}

    def react(self, event: Event, state: ToyState, ctx: Context) -> Iterable[Send]:  # noqa: ARG002 - of the base
        match event:
            case Given(to, n):
                yield Send("toy", to, Add(n=n))
            case Told(to, n, kind):
                for id_ in to:
                    yield Send(kind, id_, Deliver(n=n) if kind == "courier" else Hear(n=n))
            case Changed("react"):
                raise RuntimeError("broken in react")
            case _:
                return

    def needs(self, command: Command) -> Iterable[str]:
        match command:
            case Put(name):
                return (name,)
            case Look(names):
                return names
            case Break("needs"):
                raise RuntimeError("broken in needs")
            case _:
                return ()

    def wake_at(self, state: ToyState) -> datetime | None:
        if state.broken == "wake_at":
            raise RuntimeError("broken in wake_at")
        return state.wake

    def subject(self, state: ToyState) -> str | None:
        return "somebody" if state.text else None

    def show(self, state: ToyState, id: str, version: int, unseal: Unseal) -> Any:
        if state.broken == "state":
            unseal(Sealed(id, "box"))
        return (unseal(Sealed(id, str(version))), state) if state.text else state


class Deliver(Message, frozen=True):
    n: int


class Courier(Worker[Deliver]):
    """Answers `Hear(n)` to the toy of its own id; waits for `gate` first, and fails on the numbers of `poison`."""

    kind = "courier"
    commands = Deliver
    concurrency = 2

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.poison: dict[int, Exception] = {}
        self.calls: list[tuple[str, int, str]] = []
        self.running = 0
        self.most = 0
        self.answer_kind = "toy"
        self.started = asyncio.Event()

    async def work(self, id: str, command: Deliver, message: str) -> Iterable[Send]:
        self.calls.append((id, command.n, message))
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await self.gate.wait()
            if command.n in self.poison:
                raise self.poison[command.n]
        finally:
            self.running -= 1
        return [Send(self.answer_kind, id, Hear(n=command.n))]


class OpenVault:
    """Stands for the vault: opens everything by naming it."""

    async def sealer(self, subject: str) -> Callable[[str], Sealed]:
        return lambda text: Sealed(subject, text)

    async def opener(self, subject: str | None) -> Callable[[Sealed], str]:
        return lambda sealed: f"{subject} {sealed.box}"

    def token(self, text: str) -> str:
        return text


Tamper = Callable[[PostgresJournal], Awaitable[None]]


class TamperedJournal(PostgresJournal):
    """Runs what a test wants before and after each commit and before each take."""

    def __init__(self, dsn: str, knobs: "Knobs") -> None:
        super().__init__(dsn)
        self._knobs = knobs
        self.turns: list[str] = []

    async def commit(self, lanes: Any, turns: Any) -> datetime:
        self.turns = [turn.id for turn in turns]
        if self._knobs.before_commit is not None:
            await self._knobs.before_commit(self)
        now = await super().commit(lanes, turns)
        self._knobs.commits.append([turn.id for turn in turns])
        if self._knobs.after_commit is not None:
            await self._knobs.after_commit(self)
        return now

    async def take(self, kind: str, no: int, owner: str, instead_of: str | Anybody | None = ANYBODY) -> Any:
        if self._knobs.before_take is not None:
            await self._knobs.before_take(self)
        return await super().take(kind, no, owner, instead_of)

    def backend(self) -> int:
        """The server's process of this connection, 0 where there is none."""
        return 0 if self._connection is None or self._connection.is_closed() else self._connection.get_server_pid()


class Knobs:
    """What a test does to the journals of a runtime."""

    def __init__(self) -> None:
        self.before_commit: Callable[[TamperedJournal], Awaitable[None]] | None = None
        self.after_commit: Callable[[TamperedJournal], Awaitable[None]] | None = None
        self.before_take: Callable[[TamperedJournal], Awaitable[None]] | None = None
        self.commits: list[list[str]] = []
        self.journals: list[TamperedJournal] = []

    def journal(self, dsn: str) -> TamperedJournal:
        """A journal under these knobs; the first is the reader's, then the sweeper's, then the committers'."""
        self.journals.append(TamperedJournal(dsn, self))
        return self.journals[-1]


class Shop:
    """A runtime of toys and what a test turns."""

    def __init__(
        self,
        dsn: str,
        *,
        options: Options | None = None,
        mailbox: Mailbox | None = None,
        toy: Toy | None = None,
        courier: Courier | None = None,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self.toy = toy or Toy()
        self.courier = courier or Courier()
        self.knobs = Knobs()
        self.mailbox = mailbox or InProcessMailbox()

        def journal() -> Journal:
            return self.knobs.journal(dsn)

        options = options or Options(poison_delays=(0.01, 0.01, 0.01))
        self.runtime = Runtime(
            lambda _: [self.toy, self.courier], journal, self.mailbox, OpenVault(), options, on_commit
        )
        self.ask = self.runtime.ask

    async def state(self, id: str) -> ToyState:
        """The committed state of a toy."""
        shown = await self.runtime.read("toy", id)
        if shown is None:
            return ToyState()
        value: ToyState = shown.value[1] if isinstance(shown.value, tuple) else shown.value
        return value

    async def heard(self, id: str) -> list[str]:
        """What a toy has heard, in order."""
        return list((await self.state(id)).heard)


@asynccontextmanager
async def running(shop: Shop) -> AsyncIterator[Shop]:
    """The shop, started; stopped at the end."""
    try:
        await shop.runtime.start()
        yield shop
    finally:
        await shop.runtime.stop()


async def eventually(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it holds; fail after a time that is far beyond what it takes."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if holds is True or (holds is not False and await holds):
                return
            await asyncio.sleep(0.005)
