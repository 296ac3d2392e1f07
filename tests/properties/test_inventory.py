"""The stock of one SKU under any sequence of commands, repeats and late messages, against a model on paper."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.inventory import Inventory
from tests.actors.harness import Entity
from ultramarket.messages.common import Wake
from ultramarket.messages.inventory import (
    AdjustStock,
    CommitHold,
    ConfirmHold,
    OpenStock,
    ReleaseHold,
    ReserveStock,
    Restock,
)
from ultramarket.messages.order import HoldConfirmed, StockReserved

ORDERS = st.sampled_from(["o1", "o2", "o3", "o4", "o5"])
PIECES = st.integers(1, 4)


class Stock(RuleBasedStateMachine):
    """Model: what was received and sold in all, and what each order holds."""

    def __init__(self) -> None:
        super().__init__()
        self.entity = Entity(Inventory(), id="SKU")
        self.received = 0
        self.sold = 0
        self.holds: dict[str, int] = {}
        self.over: set[str] = set()
        self.restocked: set[str] = set()

    def _answer(self, command: object) -> object:
        outcome = self.entity.when(command, principal="order:x")
        assert outcome.rejection is None
        return outcome.answers[0].command if outcome.answers else (outcome.sends[0].command if outcome.sends else None)

    @rule(delta=st.integers(-6, 6))
    def adjust(self, delta: int) -> None:
        outcome = self.entity.when(AdjustStock(delta=delta, reason="count"), principal="staff")
        on_hand = self.received - self.sold
        fits = on_hand + delta >= max(0, sum(self.holds.values()))
        if delta > 0 or fits:
            if outcome.rejection is None:
                self.received += delta
            else:
                assert delta == 0 or not fits
        else:
            assert outcome.code == "negative_stock"

    @rule(quantity=st.integers(0, 5))
    def open(self, quantity: int) -> None:
        fresh = self.entity.state is None
        assert self.entity.when(OpenStock(quantity=quantity), principal="system").rejection is None
        self.received += quantity if fresh else 0

    @rule(order=ORDERS, quantity=PIECES, seconds=st.integers(1, 30))
    def reserve(self, order: str, quantity: int, seconds: int) -> None:
        free = self.received - self.sold - sum(self.holds.values())
        expires_at = self.entity.now + timedelta(seconds=seconds)
        answer = self._answer(ReserveStock(order=order, quantity=quantity, expires_at=expires_at))
        if order in self.holds:
            assert isinstance(answer, StockReserved), "a repeat answers the same"
        elif isinstance(answer, StockReserved):
            assert order not in self.over, "what was released or sold is not held again"
            assert free >= quantity, "more was promised than there is"
            self.holds[order] = quantity
        else:
            assert order in self.over or free < quantity, "refused although there is enough"

    @rule(order=ORDERS, quantity=PIECES)
    def confirm(self, order: str, quantity: int) -> None:
        wanted = self.holds.get(order, quantity)
        free = self.received - self.sold - sum(self.holds.values())
        answer = self._answer(ConfirmHold(order=order, quantity=wanted))
        if isinstance(answer, HoldConfirmed):
            if order not in self.holds:
                assert free >= wanted
                assert order not in self.over
                self.holds[order] = wanted
        else:
            assert order not in self.holds

    @rule(order=ORDERS)
    def release(self, order: str) -> None:
        # Only the release of an unknown hold leaves a marker: a known one had its reservation already, and that comes
        # once. Where nothing was ever counted there is nothing that a late message could hold.
        if self.entity.state is not None and order not in self.holds:
            self.over.add(order)
        self._answer(ReleaseHold(order=order))
        self.holds.pop(order, None)

    @rule(order=ORDERS)
    def commit(self, order: str) -> None:
        held = self.holds.get(order)
        before = self._level()
        self.entity.when(CommitHold(order=order), principal=f"order:{order}")
        if held is None:
            assert self._level() == before
        elif self._level() != before:
            self.sold += held
            del self.holds[order]

    @rule(restock=st.sampled_from(["r1", "r2"]), quantity=PIECES)
    def restock(self, restock: str, quantity: int) -> None:
        self._answer(Restock(restock=restock, quantity=quantity))
        if restock not in self.restocked:
            self.restocked.add(restock)
            self.received += quantity

    @precondition(lambda self: self.entity.state is not None)
    @rule(seconds=st.integers(1, 40))
    def wake(self, seconds: int) -> None:
        self.entity.now += timedelta(seconds=seconds)
        due = self.entity.wake_at
        if due is not None and due <= self.entity.now:
            self.entity.when(Wake(), principal="system")
        held = {name.removeprefix("hold:") for name, part in self.entity.parts.items()
                if name.startswith("hold:") and part.value.status in ("open", "confirmed")}  # fmt: skip
        self.holds = {order: pieces for order, pieces in self.holds.items() if order in held}

    def _level(self) -> tuple[int, int]:
        if self.entity.state is None:
            return 0, 0
        shown = self.entity.shown()
        return shown.on_hand, shown.held

    @invariant()
    def what_is_there_is_what_was_received_and_not_sold(self) -> None:
        on_hand, held = self._level()
        assert on_hand == self.received - self.sold
        assert held == sum(self.holds.values())
        assert 0 <= held <= on_hand, "oversold"
        if self.entity.state is not None:
            assert self.entity.shown().available == on_hand - held


TestStock = Stock.TestCase
