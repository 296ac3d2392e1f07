"""Idempotency keys from HTTP to the log: one effect and one answer, whatever repeats and whoever dies."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

import structlog
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.cart import Cart
from actors.inventory import Inventory
from actors.product import Product
from tests.simulation.journal import SimJournal
from tests.simulation.store import Store
from tests.web.world import RULES, STAFF, World
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.domain.money import Money
from ultramarket.messages.cart import CreateCart
from ultramarket.messages.common import Sealed
from ultramarket.messages.product import ChangeProduct, CreateProduct, Variant
from ultramarket.ports.vault import ERASED
from ultramarket.runtime.system import Options, Runtime
from web import openapi
from web.app import create_app

DOCUMENT = cache(openapi.document)
"""Made once: it costs more than a process lives here."""

CARTS = st.sampled_from(("one", "two"))
KEYS = st.sampled_from(("first-key-0123456789abcd", "other-key-0123456789abcd"))
EMAILS = ("ada@example.com", "grace@example.com")
BODIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/lines", {"sku": "TOTE", "quantity": 1}),
    ("POST", "/lines", {"sku": "TOTE", "quantity": 2}),
    ("POST", "/lines", {"sku": "TOTE", "quantity": 5000}),
    ("PATCH", "", {"email": EMAILS[0]}),
    ("PATCH", "", {"email": EMAILS[1]}),
)
WORK = st.sampled_from(BODIES)
STAGES = st.sampled_from([(number, trip) for number in (1, 2) for trip in ("commit", "commit answer")])
"""Where a process dies: at which of a request's commits, before or after it took effect."""


class Wire:
    """The way to the store; it holds a commit, or its answer, where it is told to."""

    def __init__(self) -> None:
        self.hold: tuple[int, str] | None = None
        self.held = asyncio.Event()
        self.go = asyncio.Event()
        self._seen = 0

    def arm(self, number: int, trip: str) -> None:
        """Hold the n-th trip of this name from now on."""
        self.hold, self._seen = (number, trip), 0
        self.held.clear()
        self.go.clear()

    async def trip(self, what: str) -> None:
        await asyncio.sleep(0)
        if self.hold is not None and what == self.hold[1]:
            self._seen += 1
            if self._seen == self.hold[0]:
                self.hold = None
                self.held.set()
                await self.go.wait()

    def late(self) -> float | None:
        return None


class Vault:
    """Seals so that nobody reads it by chance."""

    async def sealer(self, subject: str) -> Callable[[str], Sealed]:
        return lambda text: Sealed(subject, b64encode(text.encode()).decode()[::-1])

    async def opener(self, subject: str | None) -> Callable[[Sealed], str]:
        def opened(sealed: Sealed) -> str:
            return b64decode(sealed.box[::-1]).decode() if sealed.subject == subject else ERASED

        return opened

    def token(self, text: str) -> str:
        return text


@dataclass
class Told:
    """An answer as a client sees it."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def replayed(self) -> bool:
        return "Idempotency-Replayed" in self.headers


@dataclass
class First:
    """What is known of the first request with a key.

    `told` is None where its process died before it answered; `kept`: its whole answer is in the store.
    """

    body: dict[str, Any]
    at: datetime
    told: Told | None
    kept: bool


class Process:
    """One life of the shop's process over the store, which outlives it."""

    def __init__(self, store: Store) -> None:
        self.wire = Wire()
        vault, options = Vault(), Options(committers=1, grace_seconds=0.0)
        cast = (Cart(RULES), Inventory(), Product())
        self.runtime = Runtime(lambda _: cast, lambda: SimJournal(store, self.wire), InProcessMailbox(), vault, options)
        with patch.object(openapi, "document", DOCUMENT):
            self._app = create_app(replace(World().shop, actors=self.runtime, vault=vault))
        self.client: TestClient[Any, Any]

    async def start(self) -> "Process":
        await self.runtime.start()
        self.client = TestClient(TestServer(self._app))
        await self.client.start_server()
        return self

    async def end(self) -> None:
        """Everything stops where it is; what was on its way to the store never arrives."""
        await self.runtime.stop()
        await self.client.close()

    async def ask(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Told:
        answer = await self.client.request(method, path, json=body, headers=headers)
        return Told(answer.status, await answer.read(), dict(answer.headers))


class Requests(RuleBasedStateMachine):
    """Guests and staff write to two carts with two keys; on paper: what is in the carts, and who was told what."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(processors=[_silence])
        self.loop = asyncio.Runner()
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.store = Store(lambda: self.now)
        self.known: dict[tuple[str, str, str, str], First] = {}
        self.pieces = {"one": 0, "two": 0}
        self.emails: dict[str, str | None] = {"one": None, "two": None}
        self.sold = True
        self.process = self.loop.run(Process(self.store).start())
        self.loop.run(self._open())

    def teardown(self) -> None:
        self.loop.run(self.process.end())
        self.loop.close()
        structlog.reset_defaults()

    async def _open(self) -> None:
        variant = Variant(sku="TOTE", prices=(Money(1290, "USD"),), track_stock=False)
        tote = CreateProduct(handle="tote", title={"en": "Tote"}, status="published", variants=(variant,))
        assert (await self.process.runtime.ask("product", "tote", tote)).rejection is None
        for cart in self.pieces:
            assert (await self.process.runtime.ask("cart", cart, CreateCart(currency="USD"))).rejection is None

    # What happens

    @rule(cart=CARTS, key=KEYS, work=WORK, staff=st.booleans())
    def ask(self, cart: str, key: str, work: tuple[str, str, dict[str, Any]], *, staff: bool) -> None:
        self._judge(cart, key, work, staff, self.loop.run(self._send(cart, key, work, staff)))

    @precondition(lambda self: self.known)
    @rule(pick=st.integers(0, 9))
    def ask_again(self, pick: int) -> None:
        """The same request once more, whatever happened meanwhile."""
        (whose, method, path, key), first = list(self.known.items())[pick % len(self.known)]
        staff, _, cart = whose.partition(" ")
        self.ask(cart, key, (method, path, first.body), staff=staff == "True")

    @rule(cart=CARTS, work=WORK, staff=st.booleans())
    def ask_without_a_key(self, cart: str, work: tuple[str, str, dict[str, Any]], *, staff: bool) -> None:
        """Nobody says that two of them are one: each call takes effect."""
        self._judge_new(cart, work[2], self.loop.run(self._send(cart, None, work, staff)))

    @rule(cart=CARTS, key=KEYS, work=WORK, again=WORK, staff=st.booleans())
    def ask_while_the_first_runs(
        self,
        cart: str,
        key: str,
        work: tuple[str, str, dict[str, Any]],
        again: tuple[str, str, dict[str, Any]],
        *,
        staff: bool,
    ) -> None:
        async def both() -> tuple[Told, Told | None]:
            wire = self.process.wire
            wire.arm(1, "commit")
            first = asyncio.create_task(self._send(cart, key, work, staff))
            held = asyncio.create_task(wire.held.wait())
            await asyncio.wait([first, held], return_when=asyncio.FIRST_COMPLETED)
            second = None if first.done() else await self._send(cart, key, (*work[:2], again[2]), staff)
            held.cancel()
            wire.hold = None
            wire.go.set()
            return await first, second

        if again[:2] == work[:2]:
            told, second = self.loop.run(both())
            if second is not None:
                assert (second.status, second.headers["Retry-After"]) == (409, "1")
            self._judge(cart, key, work, staff, told)

    @rule(cart=CARTS, key=KEYS, work=WORK, staff=st.booleans(), stage=STAGES)
    def die(
        self, cart: str, key: str, work: tuple[str, str, dict[str, Any]], stage: tuple[int, str], *, staff: bool
    ) -> None:
        """The process dies at one of the commits of a request, whose client hears nothing."""

        async def dies() -> Told | None:
            wire = self.process.wire
            wire.arm(*stage)
            asking = asyncio.create_task(self._send(cart, key, work, staff))
            held = asyncio.create_task(wire.held.wait())
            await asyncio.wait([asking, held], return_when=asyncio.FIRST_COMPLETED)
            answered = asking.done()
            held.cancel()
            await self.process.end()
            wire.go.set()
            self.process = await Process(self.store).start()
            told = (await asyncio.gather(asking, return_exceptions=True))[0]
            return told if answered and isinstance(told, Told) else None

        told = self.loop.run(dies())
        if told is not None:
            self._judge(cart, key, work, staff, told)
        else:
            self._find_out(cart, key, work, staff, stage)

    @rule(hours=st.sampled_from([1, 1, 10, 23, 25]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.process.runtime.clock.set(self.now)

    @rule()
    def the_product_comes_or_goes(self) -> None:
        self.sold = not self.sold
        change = ChangeProduct(status="published" if self.sold else "draft")
        assert self.loop.run(self.process.runtime.ask("product", "tote", change)).rejection is None

    # What must come of it

    async def _send(self, cart: str, key: str | None, work: tuple[str, str, dict[str, Any]], staff: bool) -> Told:
        method, path, body = work
        headers = {**({"Idempotency-Key": key} if key else {}), **(STAFF if staff else {})}
        return await self.process.ask(method, f"/api/v1/carts/{cart}{path}", body, headers)

    def _first(self, cart: str, key: str, work: tuple[str, str, dict[str, Any]], staff: bool) -> First | None:
        """The first request with this key that still counts."""
        first = self.known.get((f"{staff} {cart}", work[0], work[1], key))
        return first if first is not None and self.now - first.at < timedelta(hours=24) else None

    def _judge(self, cart: str, key: str, work: tuple[str, str, dict[str, Any]], staff: bool, told: Told) -> None:
        first, body = self._first(cart, key, work, staff), work[2]
        unsold = "sku" in body and not self.sold
        if first is None:
            self._judge_new(cart, body, told)
            if not unsold:
                self.known[f"{staff} {cart}", work[0], work[1], key] = First(body, self.now, told, told.status == 200)
        elif unsold and not first.kept:
            # There is no whole answer, and the edge can't make this command any more.
            assert b"sku_not_found" in told.body or (first.body != body and b"idempotency_key_reused" in told.body)
        elif first.body != body:
            assert told.status == 422
            assert b"idempotency_key_reused" in told.body
        else:
            assert told.replayed
            if first.told is not None:
                assert (told.status, told.body) == (first.told.status, first.told.body), "another answer"
                for name in ("ETag", "X-Consistency", "Content-Type"):
                    assert told.headers.get(name) == first.told.headers.get(name)
            else:
                assert told.status == (422 if body.get("quantity") == 5000 else 200)
                first.told = told if first.kept else None

    def _judge_new(self, cart: str, body: dict[str, Any], told: Told) -> None:
        """What is no repeat takes effect, or is refused by the present state."""
        assert not told.replayed
        if "sku" in body and not self.sold:
            assert b"sku_not_found" in told.body
            return
        refused = body.get("quantity") == 5000
        assert told.status == (422 if refused else 200)
        if not refused:
            self._takes_effect(cart, body)

    def _find_out(
        self, cart: str, key: str, work: tuple[str, str, dict[str, Any]], staff: bool, stage: tuple[int, str]
    ) -> None:
        """Note what a request did whose client heard nothing: its effect lands first, and then its whole answer."""
        if stage != (1, "commit") and self._first(cart, key, work, staff) is None:
            if work[2].get("quantity") != 5000:
                self._takes_effect(cart, work[2])
            kept = stage == (2, "commit answer")
            self.known[f"{staff} {cart}", work[0], work[1], key] = First(work[2], self.now, None, kept)

    def _takes_effect(self, cart: str, body: dict[str, Any]) -> None:
        self.pieces[cart] += body.get("quantity", 0)
        self.emails[cart] = body.get("email", self.emails[cart])

    @invariant()
    def each_request_took_effect_once(self) -> None:
        for cart, pieces in self.pieces.items():
            told = self.loop.run(self.process.client.get(f"/api/v1/carts/{cart}"))
            shown = self.loop.run(told.json())
            assert sum(line["quantity"] for line in shown["lines"]) == pieces
            assert shown["email"] == self.emails[cart]

    @invariant()
    def nothing_personal_stands_open_in_the_store(self) -> None:
        for text in self._stored():
            assert not any(email in text for email in EMAILS)

    def _stored(self) -> Iterator[str]:
        for replies in self.store.replies.values():
            yield from (kept.reply for kept in replies)
        for events in self.store.histories.values():
            yield from (event.data for event in events)
        yield from (row.state for row in self.store.entities.values())


def _silence(*_: Any) -> Any:
    raise structlog.DropEvent


TestRequests = Requests.TestCase
# A step here is several requests to a server: the same time buys fewer examples.
TestRequests.settings = settings(max_examples=max(1, settings().max_examples // 5))
