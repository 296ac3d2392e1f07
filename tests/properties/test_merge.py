"""Merges of carts: their order does not matter, nothing is lost or doubled whatever comes twice, undo restores."""

from collections import Counter, deque
from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.cart import Cart
from actors.cart_state import CartState
from tests.actors.harness import NOON, Entity
from ultramarket.domain.money import Money
from ultramarket.domain.shop import DEFAULT
from ultramarket.messages.cart import AddLine, CreateCart, FreezeCart, OpenCart, PatchCart, Quote, SetLine
from ultramarket.messages.cart_transfer import GiveLines
from ultramarket.messages.common import Address, Sealed, Wake


def sealed(text: str) -> Sealed:
    return Sealed("cart:x", text)


ADDRESS = Address(name=sealed("Ada"), line1=sealed("1 Main St"), city=sealed("Reno"), country="US")
SKUS = ("A", "B", "C", "D")
CARTS = ("x", "y", "z")
QUANTITIES = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 700), min_size=1)


def quote(sku: str, seconds: int = 900) -> Quote:
    return Quote(
        sku=sku,
        product=f"product-{sku}",
        product_version=1,
        title={"en": sku},
        price=Money(100 + ord(sku), "USD"),
        locked_until=NOON + timedelta(seconds=seconds),
    )


def cart(id: str, lines: dict[str, int], seconds: int = 900) -> Entity:
    entity = Entity(Cart(DEFAULT), id=id)
    entity.when(CreateCart(currency="USD"))
    entity.when(PatchCart(email=sealed("ada@example.com"), shipping_address=ADDRESS, shipping_method="standard"))
    for sku, quantity in lines.items():
        entity.when(AddLine(quote=quote(sku, seconds), quantity=quantity))
    return entity


def pieces(state: CartState) -> Counter[str]:
    """Everything that is in the cart, on its way out of it, or come back and waiting."""
    lines = (*state.lines, *state.returned, *(state.transfer.lines if state.transfer else ()))
    counted: Counter[str] = Counter()
    for line in lines:
        counted[line.quote.sku] += line.quantity
    return counted


def merge(target: Entity, source: Entity, available: dict[str, int]) -> None:
    """One whole merge, message by message."""
    given = source.when(GiveLines(target=target.id, available=available), command_id=f"{target.id}<{source.id}")
    for take in given.sends:
        for word in target.when(take.command, principal=f"cart:{source.id}").sends:
            source.when(word.command, principal=f"cart:{target.id}")


@given(
    QUANTITIES,
    st.lists(QUANTITIES, min_size=2, max_size=4),
    st.lists(st.sampled_from([60, 900, 1800]), min_size=4, max_size=4),
    st.dictionaries(st.sampled_from(SKUS), st.integers(0, 900)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_merges_does_not_matter(
    target: dict[str, int],
    sources: list[dict[str, int]],
    locks: list[int],
    available: dict[str, int],
    random: Random,
) -> None:
    ends = []
    for _ in range(2):
        into = cart("target", target)
        carts = [cart(f"source-{number}", lines, locks[number]) for number, lines in enumerate(sources)]
        random.shuffle(carts)
        for source in carts:
            merge(into, source, available)
            assert source.state.lines == ()
        ends.append({line.quote.sku: (line.quantity, line.quote) for line in into.state.lines})
    assert ends[0] == ends[1]
    for sku, (quantity, held) in ends[0].items():
        quotes = [quote(sku)] * (sku in target)
        quotes += [quote(sku, lock) for lines, lock in zip(sources, locks, strict=False) if sku in lines]
        assert held == max(quotes, key=lambda each: each.locked_until), "the quote that holds longest is the buyer's"
        asked = target.get(sku, 0) + sum(lines.get(sku, 0) for lines in sources)
        assert quantity == max(target.get(sku, 0), min(asked, DEFAULT.limits.max_quantity, available.get(sku, asked)))


@given(QUANTITIES, QUANTITIES, st.none() | QUANTITIES)
def test_a_merge_that_is_not_taken_leaves_both_carts_as_they_were(
    target: dict[str, int], source: dict[str, int], meanwhile: dict[str, int] | None
) -> None:
    into, from_ = cart("target", target), cart("source", source)
    into.when(FreezeCart(order="o", version=into.version, deadline=NOON + timedelta(minutes=5)), principal="order:o")
    before = (into.state.lines, from_.state.lines)
    (take,) = from_.when(GiveLines(target="target"), command_id="m").sends
    (word,) = into.when(take.command, principal="cart:source").sends
    added = Counter[str]()
    for sku, quantity in (meanwhile or {}).items():
        if from_.when(AddLine(quote=quote(sku), quantity=quantity)).rejection is None:
            added[sku] += quantity
    from_.when(word.command, principal="cart:target")
    assert into.state.lines == before[0]
    if not added:
        assert from_.state.lines == before[1]
    assert pieces(from_.state) == Counter(source) + added


class Merges(RuleBasedStateMachine):
    """Three carts that merge into each other while messages wait, come twice, and orders freeze them."""

    @initialize(lines=st.lists(QUANTITIES, min_size=3, max_size=3))
    def carts_with_lines(self, lines: list[dict[str, int]]) -> None:
        self.carts = {
            id: cart(id, {s: 1 + q % 9 for s, q in has.items()}) for id, has in zip(CARTS, lines, strict=True)
        }
        self.queues: dict[tuple[str, str], deque[object]] = {}
        self.seen: list[tuple[str, str, object]] = []
        self.merges = 0
        self.total = sum((pieces(each.state) for each in self.carts.values()), Counter[str]())
        self.arrived: dict[tuple[str, str], int] = {}

    def _tell(self, id: str, command: object, principal: str = "guest", command_id: str = "") -> None:
        outcome = self.carts[id].when(command, principal=principal, command_id=command_id)
        for send in (*outcome.answers, *outcome.sends):
            if send.kind == "cart":
                self.queues.setdefault((id, send.id), deque()).append(send.command)

    @rule(source=st.sampled_from(CARTS), into=st.sampled_from(CARTS))
    def begin(self, source: str, into: str) -> None:
        self.merges += 1
        self._tell(source, GiveLines(target=into), command_id=f"merge-{self.merges}")

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data(), twice=st.booleans())
    def deliver(self, data: st.DataObject, twice: bool) -> None:
        pair = data.draw(st.sampled_from(sorted(pair for pair, queue in self.queues.items() if queue)))
        command = self.queues[pair].popleft()
        self.seen.append((*pair, command))
        for _ in range(1 + twice):
            self._tell(pair[1], command, principal=f"cart:{pair[0]}")

    @precondition(lambda self: any(self.queues.values()))
    @rule()
    def deliver_all(self) -> None:
        while pairs := [pair for pair, queue in self.queues.items() if queue]:
            command = self.queues[pairs[0]].popleft()
            self.seen.append((*pairs[0], command))
            self._tell(pairs[0][1], command, principal=f"cart:{pairs[0][0]}")

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        source, target, command = data.draw(st.sampled_from(self.seen))
        self._tell(target, command, principal=f"cart:{source}")

    @rule(id=st.sampled_from(CARTS), sku=st.sampled_from(SKUS), quantity=st.integers(0, 5))
    def change(self, id: str, sku: str, quantity: int) -> None:
        before = pieces(self.carts[id].state)
        if quantity and self.merges % 2:
            self._tell(id, AddLine(quote=quote(sku), quantity=quantity))
        else:
            self._tell(id, SetLine(line=sku, quantity=quantity))
        self.total += pieces(self.carts[id].state)
        self.total.subtract(before)

    @rule(id=st.sampled_from(CARTS))
    def freeze_or_open(self, id: str) -> None:
        entity = self.carts[id]
        if entity.state.frozen_until:
            self._tell(id, OpenCart(order=entity.state.order), principal=f"order:{entity.state.order}")
        else:
            deadline = entity.now + timedelta(minutes=5)
            self._tell(id, FreezeCart(order="o", version=entity.version, deadline=deadline), principal="order:o")

    @rule(id=st.sampled_from(CARTS), minutes=st.integers(1, 120))
    def wait(self, id: str, minutes: int) -> None:
        for entity in self.carts.values():
            entity.now += timedelta(minutes=minutes)
        due = self.carts[id].wake_at
        if due is not None and due <= self.carts[id].now:
            self._tell(id, Wake(), principal="system")

    @invariant()
    def every_piece_is_in_one_place(self) -> None:
        if not hasattr(self, "carts"):
            return
        standing = Counter[str]()
        for id, entity in self.carts.items():
            state = entity.state
            standing += pieces(state)
            transfer = state.transfer
            # The target took it, and the source does not know yet: the lines are the target's.
            if transfer and any(
                known.transfer == transfer.id and known.refusal is None
                for known in self.carts[transfer.target].state.received
            ):
                for line in transfer.lines:
                    standing[line.quote.sku] -= line.quantity
            assert id in CARTS
        assert +standing == +self.total


TestMerges = Merges.TestCase
