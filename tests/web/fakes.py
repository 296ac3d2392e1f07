"""The shop in memory: the real actors, told one message after the other, without log, database or processes."""

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from actors.cart import Cart
from actors.category_tree import CategoryTree
from actors.collection import Collection
from actors.inventory import Inventory
from actors.order import Order
from actors.payment import Payment
from actors.product import Product
from actors.product_import import Import
from actors.redirect import Redirect
from actors.review import Review
from tests.conformance.feed import MemoryFeed
from ultramarket.domain.shop import ShopRules
from ultramarket.errors import Rejection, Unavailable
from ultramarket.messages.common import Sealed
from ultramarket.messages.payment import CallGateway, GatewayAnswered, GatewayResult
from ultramarket.ports.asking import Answer, Shown
from ultramarket.runtime.actor import Actor, Claim, Context, Decision, Send

Id = tuple[str, str]


class FakeVault:
    """Seals by writing the subject in front."""

    async def sealer(self, subject: str) -> Callable[[str], Sealed]:
        return lambda text: Sealed(subject, text)

    async def opener(self, subject: str | None) -> Callable[[Sealed], str]:
        return lambda sealed: sealed.box if sealed.subject == subject else "erased"

    def token(self, text: str) -> str:
        return text.strip().lower()


class FakeUploads:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.dropped: list[str] = []

    async def write(self, id: str, chunks: AsyncIterator[bytes]) -> int:
        self.kept[id] = b"".join([chunk async for chunk in chunks])
        return len(self.kept[id])

    async def read(self, id: str) -> AsyncIterator[bytes]:
        yield self.kept[id]

    async def drop(self, id: str) -> None:
        self.dropped.append(id)
        self.kept.pop(id, None)


class FakeActors:
    """The port `Actors` over the real actors. The gateway answers by the method's name.

    Attributes:
        failing: raised by the next calls of the methods named.
        paused: messages between actors wait while it is set.
        asked: every command that came through `ask`, with its principal and trace.
        gate: commands wait for it, where there is one; `arrived` says that one does.
        watched: somebody waits for an entity.
        before_ask: done once, right before the next command.
        log: every event, as the log has it.
    """

    def __init__(self, rules: ShopRules) -> None:
        cast: tuple[Actor[Any, Any, Any], ...] = (
            Product(),
            Inventory(),
            Cart(rules),
            Order(rules),
            Payment(),
            Import(),
            CategoryTree(),
            Collection(),
            Redirect(),
            Review(),
        )
        self._cast = {actor.kind: actor for actor in cast}
        self._states: dict[Id, Any] = {}
        self._versions: dict[Id, int] = defaultdict(int)
        self._parts: dict[Id, dict[str, Any]] = defaultdict(dict)
        self._claims: dict[Claim, str] = {}
        self._replies: dict[tuple[str, str, str], tuple[bytes, Any]] = {}
        self._watchers: dict[Id, set[asyncio.Event]] = defaultdict(set)
        self._numbers = 100_000
        self.messages: deque[tuple[str, Send]] = deque()
        self.paused = False
        self.failing: dict[str, Exception] = {}
        self.asked: list[tuple[str, str, Any, str, str]] = []
        self.gate: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.watched = asyncio.Event()
        self.before_ask: Callable[[], Awaitable[Any]] | None = None
        self.log = MemoryFeed()

    async def ask(
        self,
        kind: str,
        id: str,
        command: Any,
        *,
        principal: str = "system",
        key: str | None = None,
        body_hash: bytes = b"",
        trace: str = "",
        timeout: float | None = None,  # noqa: ARG002 - part of the port
    ) -> Answer:
        self._fail("ask")
        if self.before_ask is not None:
            before, self.before_ask = self.before_ask, None
            await before()
        if self.gate is not None:
            self.arrived.set()
            await self.gate.wait()
        if key is not None and (stored := await self.stored(kind, id, key, body_hash)) is not None:
            return stored
        self.asked.append((kind, id, command, principal, trace))
        answer = self._tell(kind, id, command, principal)
        if key is not None:
            kept = answer.rejection if answer.rejection is not None else msgspec.to_builtins(answer.value)
            self._replies[kind, id, key] = (body_hash, kept)
        self.settle()
        return answer

    async def read(self, kind: str, id: str) -> Shown | None:
        self._fail("read")
        state = self._states.get((kind, id))
        if state is None:
            return None
        actor, version = self._cast[kind], self._versions[kind, id]
        return Shown(actor.show(state, id, version, lambda sealed: sealed.box), version)

    async def read_many(self, kind: str, ids: list[str]) -> dict[str, Shown]:
        found = {id: await self.read(kind, id) for id in ids}
        return {id: shown for id, shown in found.items() if shown is not None}

    async def owner(self, namespace: str, value: str) -> str | None:
        return self._claims.get(Claim(namespace, value))

    @asynccontextmanager
    async def watch(self, kind: str, id: str) -> AsyncIterator[AsyncIterator[int]]:
        changed = asyncio.Event()
        self._watchers[kind, id].add(changed)
        self.watched.set()

        async def versions() -> AsyncIterator[int]:
            while True:
                await changed.wait()
                changed.clear()
                yield self._versions[kind, id]

        try:
            yield versions()
        finally:
            self._watchers[kind, id].discard(changed)

    async def stored(self, kind: str, id: str, key: str, body_hash: bytes) -> Answer | None:
        if (kind, id, key) not in self._replies:
            return None
        known, value = self._replies[kind, id, key]
        if known != body_hash:
            return Answer(rejection=Rejection("idempotency_key_reused", "Another body came with this key.", 422))
        if isinstance(value, Rejection):
            return Answer(rejection=value, replayed=True)
        return Answer(value, replayed=True, version=self._versions[kind, id])

    async def keep(self, kind: str, id: str, key: str, body_hash: bytes, value: Any) -> None:
        self._fail("keep")
        self._replies[kind, id, key] = (body_hash, msgspec.json.decode(msgspec.json.encode(value)))

    async def number(self, sequence: str) -> int:
        assert re.fullmatch("[a-z_]+", sequence)
        self._numbers += 1
        return self._numbers

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def settle(self) -> None:
        """Hand on every message between actors, unless paused."""
        while self.messages and not self.paused:
            source, send = self.messages.popleft()
            if isinstance(send.command, CallGateway):
                self._call(send.id, send.command)
            elif send.kind in self._cast:
                self._tell(send.kind, send.id, send.command, source)

    def forget_replies(self) -> None:
        """A day passed: no reply is stored any more."""
        self._replies.clear()

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Messages between actors wait meanwhile."""
        self.paused = True
        yield
        self.paused = False
        self.settle()

    def _fail(self, method: str) -> None:
        if method in self.failing:
            raise self.failing[method]

    def _call(self, payment: str, command: CallGateway) -> None:
        call = command.call
        amount = call.amount.amount
        outcome: dict[str, dict[str, Any]] = {
            "authorise": {"authorised": amount},
            "capture": {"authorised": amount, "captured": amount},
            "void": {"voided": True},
            "refund": {"captured": amount, "refunded": amount},
            "lookup": {"authorised": amount},
        }
        result = GatewayResult(outcome="ok", reference="ref", **outcome[call.operation])
        if call.operation == "authorise" and call.method == "declined":
            result = GatewayResult(outcome="refused", code="declined")
        if call.operation == "authorise" and call.method == "requires_action":
            result = GatewayResult(
                outcome="action", reference="ref", action=f"/api/v1/payments/{payment}/sandbox/authenticate"
            )
        answer = GatewayAnswered(operation=call.operation, key=call.key, result=result)
        self.messages.append((f"gateway:{payment}", Send("payment", payment, answer)))

    def _tell(self, kind: str, id: str, command: Any, principal: str) -> Answer:
        actor, place = self._cast[kind], (kind, id)
        parts = self._parts[place]
        ctx = Context(
            id=id,
            version=self._versions[place],
            now=self.now(),
            principal=principal,
            command=f"{kind}:{id}:{self._versions[place]}:{len(self.asked)}",
            parts={name: parts[name].value for name in actor.needs(command) if name in parts},
        )
        decision = actor.decide(self._states.get(place), command, ctx)
        if isinstance(decision, Rejection):
            return Answer(rejection=decision)
        return self._take(actor, place, decision, ctx)

    def _take(self, actor: Actor[Any, Any, Any], place: Id, decision: Decision, ctx: Context) -> Answer:
        kind, id = place
        for claim in decision.claims:
            if self._claims.get(claim, id) != id:
                return Answer(rejection=Rejection("taken", f"{claim.value!r} belongs to another.", 409))
        for claim in decision.drops:
            self._claims.pop(claim, None)
        self._claims.update(dict.fromkeys(decision.claims, id))
        loaded = dict(ctx.parts)
        source = f"{kind}:{id}"
        self.messages.extend((source, send) for send in decision.answers)
        for event in decision.events:
            changed = actor.evolve_parts(event, loaded)
            loaded.update({name: part.value for name, part in changed.items()})
            for name, part in changed.items():
                self._parts[place].pop(name, None)
                if part.value is not None:
                    self._parts[place][name] = part
            self._states[place] = actor.evolve(self._states.get(place), event)
            self._versions[place] += 1
            data = msgspec.json.encode(event).decode()
            self.log.append(kind, id, self._versions[place], type(event).__name__, data, self.now())
            self.messages.extend((source, send) for send in actor.react(event, self._states[place], ctx))
        for changed_event in self._watchers[place] if decision.events else ():
            changed_event.set()
        token = f"{kind}.07@{self._versions[place]}" if decision.events else None
        return Answer(decision.reply, token=token, version=self._versions[place])


UNAVAILABLE = Unavailable("mailbox_full", "Too much waits for this entity.", 2)
