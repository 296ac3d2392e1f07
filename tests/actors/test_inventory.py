"""Inventory: holds are exact, the last piece goes once, and what nobody claims comes back."""

from datetime import datetime, timedelta

import pytest

from actors.inventory import Hold, Inventory, Level
from tests.actors.harness import NOON, Entity
from ultramarket.messages.common import Wake
from ultramarket.messages.inventory import (
    AdjustStock,
    CommitHold,
    ConfirmHold,
    HoldCommitted,
    HoldKept,
    HoldReleased,
    HoldsExpired,
    OpenStock,
    ReleaseHold,
    ReserveStock,
    Restock,
    Restocked,
    ShownStock,
    StockAdjusted,
    StockHeld,
    StockKept,
)
from ultramarket.messages.order import HoldConfirmed, HoldLost, StockRefused, StockReserved
from ultramarket.runtime.actor import Context, Decision, Send

END = NOON + timedelta(minutes=15)
DAY = timedelta(hours=24)


def stock(on_hand: int) -> Entity:
    return Entity(Inventory(), id="TEE").given(StockAdjusted(at=NOON, delta=on_hand, reason="received"))


def reserve(order: str, quantity: int, *, until: datetime = END, when_out: str = "deny") -> ReserveStock:
    return ReserveStock(order=order, quantity=quantity, expires_at=until, when_out=when_out)


def held(order: str, quantity: int, until: datetime | None = END) -> StockHeld:
    return StockHeld(at=NOON, order=order, quantity=quantity, expires_at=until)


def figures(it: Entity) -> tuple[int, int]:
    shown = it.shown()
    return shown.on_hand, shown.held


# Counting


def test_the_first_adjustment_makes_the_stock() -> None:
    it = Entity(Inventory(), id="TEE")
    outcome = it.when(AdjustStock(delta=5, reason="received"))
    assert outcome.events == (StockAdjusted(at=NOON, delta=5, reason="received"),)
    assert outcome.reply == StockKept(sku="TEE", version=1, on_hand=5, held=0, changed=True)
    assert it.wake_at is None


def test_nothing_added_to_a_stock_records_nothing() -> None:
    outcome = stock(5).when(AdjustStock(delta=0, reason="counted"))
    assert (outcome.events, outcome.reply) == (
        (),
        StockKept(sku="TEE", version=1, on_hand=5, held=0, changed=False),
    )
    assert Entity(Inventory(), id="NEW").when(AdjustStock(delta=0, reason="counted")).reply.changed


@pytest.mark.parametrize(("delta", "code"), [(-3, None), (-4, "negative_stock")])
def test_held_pieces_can_not_be_taken_away(delta: int, code: str | None) -> None:
    it = stock(5).given(held("o1", 2))
    outcome = it.when(AdjustStock(delta=delta, reason="broken"))
    assert outcome.code == code
    assert outcome.pointers == (["/delta"] if code else [])


def test_a_stock_below_zero_may_be_filled_but_not_emptied() -> None:
    it = stock(0).given(held("o1", 3, None), HoldCommitted(at=NOON, order="o1", quantity=3))
    assert figures(it) == (-3, 0)
    assert it.when(AdjustStock(delta=-1, reason="broken")).code == "negative_stock"
    assert it.when(AdjustStock(delta=1, reason="received")).reply.on_hand == -2
    assert it.shown().available == 0


@pytest.mark.parametrize(
    ("command", "pointer"),
    [
        (AdjustStock(delta=10**9 + 1, reason=""), "/delta"),
        (AdjustStock(delta=-(10**9) - 1, reason=""), "/delta"),
        (AdjustStock(delta=10**9, reason=""), "/delta"),
        (AdjustStock(delta=1, reason="x" * 201), "/reason"),
        (AdjustStock(delta=1, reason="", location=" "), "/location"),
        (AdjustStock(delta=1, reason="", location="x" * 201), "/location"),
    ],
)
def test_an_absurd_adjustment_is_refused(command: AdjustStock, pointer: str) -> None:
    outcome = stock(1).when(command)
    assert (outcome.code, outcome.rejection.status, outcome.pointers) == ("invalid", 422, [pointer])


def test_a_hundred_locations_are_enough() -> None:
    it = Entity(Inventory(), id="TEE")
    it.given(*(StockAdjusted(at=NOON, delta=1, reason="", location=f"shelf {n}") for n in range(100)))
    assert it.when(AdjustStock(delta=1, reason="", location="one more")).pointers == ["/location"]
    assert it.when(AdjustStock(delta=1, reason="", location="shelf 7")).reply.on_hand == 101


def test_an_adjustment_that_expects_another_version_is_refused() -> None:
    assert stock(5).when(AdjustStock(delta=1, reason="", expect=2)).rejection.status == 412


def test_a_first_count_is_taken_once() -> None:
    it = Entity(Inventory(), id="TEE")
    first = it.when(OpenStock(quantity=7))
    assert (len(first.events), first.reply.on_hand, first.reply.changed) == (1, 7, True)
    again = it.when(OpenStock(quantity=9))
    assert (again.events, again.reply.on_hand, again.reply.changed) == ((), 7, False)


@pytest.mark.parametrize("quantity", [-1, 10**9 + 1])
def test_an_absurd_first_count_is_refused(quantity: int) -> None:
    assert Entity(Inventory()).when(OpenStock(quantity=quantity)).pointers == ["/quantity"]


# Holding


def test_a_reservation_holds_pieces_and_answers_the_order() -> None:
    it = stock(5)
    outcome = it.when(reserve("o1", 2))
    assert outcome.events == (held("o1", 2),)
    assert outcome.sends == (Send("order", "o1", StockReserved(sku="TEE")),)
    assert it.shown() == ShownStock(sku="TEE", on_hand=5, held=2, available=3, version=2)
    assert it.parts["hold:o1"].value == Hold(quantity=2, location="main", status="open", expires_at=END)
    assert (it.parts["hold:o1"].due_at, it.wake_at) == (END, END)


def test_the_last_piece_goes_once() -> None:
    it = stock(1)
    it.when(reserve("o1", 1))
    outcome = it.when(reserve("o2", 1))
    assert outcome.events == ()
    assert outcome.answers == (Send("order", "o2", StockRefused(sku="TEE", available=0)),)


def test_a_repeated_reservation_answers_the_same_and_changes_nothing() -> None:
    it = stock(1).given(held("o1", 1))
    outcome = it.when(reserve("o1", 1))
    assert (outcome.events, outcome.answers) == ((), (Send("order", "o1", StockReserved(sku="TEE")),))


def test_stock_that_does_not_exist_is_refused_and_not_made() -> None:
    it = Entity(Inventory(), id="TEE")
    outcome = it.when(reserve("o1", 1))
    assert outcome.answers == (Send("order", "o1", StockRefused(sku="TEE", available=0)),)
    assert it.version == 0


def test_a_product_that_continues_is_held_past_zero() -> None:
    it = Entity(Inventory(), id="TEE")
    assert it.when(reserve("o1", 3, when_out="continue")).events == (held("o1", 3),)
    assert (figures(it), it.shown().available) == ((0, 3), 0)
    refused = it.when(reserve("o2", 1)).answers
    assert refused == (Send("order", "o2", StockRefused(sku="TEE", available=0)),)


def test_stock_of_one_location_is_not_held_at_another() -> None:
    it = stock(5)
    outcome = it.when(ReserveStock(order="o1", quantity=1, expires_at=END, location="annexe"))
    assert outcome.answers == (Send("order", "o1", StockRefused(sku="TEE", available=0)),)


def test_the_timer_follows_the_earliest_hold() -> None:
    it = stock(5).given(held("o1", 1))
    it.when(reserve("o2", 1, until=END + timedelta(minutes=1)))
    assert it.wake_at == END
    it.when(reserve("o3", 1, until=END - timedelta(minutes=1)))
    assert it.wake_at == END - timedelta(minutes=1)


# Confirming


def test_a_confirmed_hold_does_not_expire() -> None:
    it = stock(5).given(held("o1", 2))
    outcome = it.when(ConfirmHold(order="o1", quantity=2))
    assert outcome.events == (HoldKept(at=NOON, order="o1"),)
    assert outcome.sends == (Send("order", "o1", HoldConfirmed(sku="TEE")),)
    assert it.parts["hold:o1"].value == Hold(quantity=2, location="main", status="confirmed")
    assert it.parts["hold:o1"].due_at is None
    again = it.when(ConfirmHold(order="o1", quantity=2))
    assert (again.events, again.answers) == ((), (Send("order", "o1", HoldConfirmed(sku="TEE")),))
    it.when(Wake(), now=END)
    assert (figures(it), it.wake_at) == ((5, 2), None)


def test_an_expired_hold_is_taken_again_where_pieces_are_left() -> None:
    it = stock(2).given(held("o1", 2), HoldsExpired(at=END, holds=(("o1", "main", 2),), next_due=None))
    outcome = it.when(ConfirmHold(order="o1", quantity=2))
    assert outcome.events == (held("o1", 2, None),)
    assert outcome.sends == (Send("order", "o1", HoldConfirmed(sku="TEE")),)
    assert it.part("hold:o1") == Hold(quantity=2, location="main", status="confirmed")
    assert it.wake_at is None


def test_an_expired_hold_is_lost_where_the_pieces_are_gone() -> None:
    it = stock(2).given(held("o1", 2), HoldsExpired(at=END, holds=(("o1", "main", 2),), next_due=None), held("o2", 1))
    outcome = it.when(ConfirmHold(order="o1", quantity=2))
    assert (outcome.events, outcome.answers) == ((), (Send("order", "o1", HoldLost(sku="TEE")),))
    backorder = it.when(ConfirmHold(order="o1", quantity=2, when_out="continue"))
    assert backorder.events == (held("o1", 2, None),)


def test_a_hold_of_nothing_is_lost() -> None:
    it = Entity(Inventory(), id="TEE")
    assert it.when(ConfirmHold(order="o1", quantity=1)).answers == (Send("order", "o1", HoldLost(sku="TEE")),)


# Releasing, committing, taking back


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_release_gives_the_pieces_back_and_leaves_nothing(confirmed: bool) -> None:
    it = stock(5).given(held("o1", 2, None if confirmed else END))
    outcome = it.when(ReleaseHold(order="o1"))
    assert outcome.events == (HoldReleased(at=NOON, order="o1", quantity=2),)
    assert (figures(it), it.parts, outcome.sends) == ((5, 0), {}, ())


def test_the_release_of_an_unknown_hold_refuses_the_late_reservation_for_a_day() -> None:
    it = stock(5)
    outcome = it.when(ReleaseHold(order="o1"))
    assert outcome.events == (HoldReleased(at=NOON, order="o1", quantity=0),)
    assert it.part("hold:o1") == Hold(location="", status="released", expires_at=NOON + DAY)
    assert it.wake_at == NOON + DAY
    assert it.when(reserve("o1", 1)).answers == (Send("order", "o1", StockRefused(sku="TEE", available=5)),)
    assert it.when(ConfirmHold(order="o1", quantity=1)).answers == (Send("order", "o1", HoldLost(sku="TEE")),)
    assert it.when(ReleaseHold(order="o1")).events == ()
    assert it.when(CommitHold(order="o1")).events == ()
    assert it.when(Wake(), now=NOON + DAY).events == (
        HoldsExpired(at=NOON + DAY, holds=(), next_due=None, markers=("hold:o1",)),
    )
    assert (it.parts, figures(it)) == ({}, (5, 0))


def test_a_release_where_nothing_was_ever_counted_makes_no_stock() -> None:
    it = Entity(Inventory(), id="TEE")
    assert it.when(ReleaseHold(order="o1")).events == ()
    assert it.version == 0


def test_committed_pieces_are_sold() -> None:
    it = stock(5).given(held("o1", 2), HoldKept(at=NOON, order="o1"))
    outcome = it.when(CommitHold(order="o1"))
    assert outcome.events == (HoldCommitted(at=NOON, order="o1", quantity=2),)
    assert (figures(it), it.parts) == ((3, 0), {})
    assert it.when(CommitHold(order="o1")).events == ()


def test_pieces_come_back_once() -> None:
    it = stock(5)
    outcome = it.when(Restock(restock="r1", quantity=2))
    assert outcome.events == (Restocked(at=NOON, restock="r1", quantity=2),)
    assert it.when(Restock(restock="r1", quantity=2)).events == ()
    assert figures(it) == (7, 0)
    it.when(Wake(), now=NOON + DAY)
    assert (it.parts, it.wake_at) == ({}, None)


# Waking


def test_holds_that_ran_out_come_back_and_the_next_one_sets_the_timer() -> None:
    later = END + timedelta(minutes=1)
    it = stock(5).given(held("o1", 1), held("o2", 2), held("o3", 1, later), held("o4", 1, None))
    outcome = it.when(Wake(), now=END)
    assert outcome.events == (HoldsExpired(at=END, holds=(("o1", "main", 1), ("o2", "main", 2)), next_due=later),)
    assert (figures(it), set(it.parts), it.wake_at) == ((5, 2), {"hold:o3", "hold:o4"}, later)


def test_a_wake_with_nothing_due_moves_the_timer_on() -> None:
    it = stock(5).given(held("o1", 1), HoldReleased(at=NOON, order="o1", quantity=1))
    assert it.wake_at == END
    assert it.when(Wake(), now=END).events == (HoldsExpired(at=END, holds=(), next_due=None),)
    assert it.wake_at is None


@pytest.mark.parametrize("now", [NOON, END])
def test_a_wake_that_nobody_asked_for_changes_nothing(now: datetime) -> None:
    early = stock(5).given(held("o1", 1, END + timedelta(seconds=1)))
    assert early.when(Wake(), now=now).events == ()
    assert stock(5).when(Wake(), now=now).events == ()
    assert Entity(Inventory()).when(Wake(), now=now).events == ()


def test_a_part_that_is_not_due_yet_is_not_lost() -> None:
    it = stock(5).given(held("o1", 1))
    soon = END + timedelta(seconds=1)
    parts = {
        "hold:o1": Hold(quantity=1, location="main", status="open", expires_at=soon),
        "hold:o2": Hold(quantity=1, location="main", status="confirmed"),
    }
    ctx = Context(id="TEE", version=2, now=END, parts=parts, next_due=soon + DAY)
    assert it.actor.decide(it.state, Wake(), ctx) == Decision(events=(HoldsExpired(at=END, holds=(), next_due=soon),))


def test_figures_add_up_over_locations() -> None:
    it = stock(5).given(StockAdjusted(at=NOON, delta=2, reason="", location="annexe"))
    assert it.state.levels == {"main": Level(5), "annexe": Level(2)}
    assert figures(it) == (7, 0)


def test_only_commands_about_a_hold_need_parts() -> None:
    assert list(Inventory().needs(OpenStock(quantity=1))) == []
    assert list(Inventory().needs(Restock(restock="r1", quantity=1))) == ["restock:r1"]
    assert list(Inventory().needs(CommitHold(order="o1"))) == ["hold:o1"]
