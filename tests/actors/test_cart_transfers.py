"""Merges of carts: each line ends up in one cart, whatever is repeated, late, refused or done meanwhile."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from actors.cart import Cart
from actors.cart_lines import fresher
from actors.cart_state import CartState, Received, Transfer
from tests.actors.carts import DEADLINE, READY, RULES, added, cart, frozen, line, quote
from tests.actors.harness import NOON, Entity, Outcome
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.cart import (
    AddLine,
    CartCleared,
    CartFroze,
    CartKept,
    CartLine,
    CartMergedFrom,
    ClearCart,
    FreezeCart,
    LineAdded,
    LineChanged,
    MergeChange,
    OpenCart,
    PatchCart,
    SetLine,
)
from ultramarket.messages.cart_transfer import (
    AllowMerge,
    AskTransfer,
    GiveBack,
    GiveLines,
    LinesGiven,
    LinesGivenBack,
    LinesTaken,
    SettleTransfer,
    TakeLines,
    TransferAsked,
    TransferBegun,
    TransferDone,
    TransferOutcome,
    TransferRefused,
    TransferStands,
    TransferTaken,
)
from ultramarket.messages.common import Wake
from ultramarket.messages.order import CartFrozen
from ultramarket.runtime.actor import Send

REFUSAL = Rejection("too_many_lines", "A cart holds at most 3 lines.", 422)
TOO_LATE = Rejection(
    "deadline_passed",
    "The lines did not reach the other cart in time and are back; merge again with a new Idempotency-Key.",
    503,
)
MINUTE = timedelta(minutes=1)


def held(*carts: Entity) -> dict[str, int]:
    """How many pieces of each SKU stand in these carts and between them."""
    found: dict[str, int] = {}
    for each in carts:
        for one in (*each.state.lines, *each.state.away, *each.state.returned):
            found[one.quote.sku] = found.get(one.quote.sku, 0) + one.quantity
    return found


def pieces(it: Entity) -> list[tuple[str, int]]:
    return [(each.quote.sku, each.quantity) for each in it.state.lines]


def give(source: Entity, target: str = "two", **fields: Any) -> Any:
    """The source gives its lines; the message for the target."""
    (sent,) = source.when(GiveLines(target=target, **fields)).sends
    assert (sent.kind, sent.id) == ("cart", target)
    return sent.command


def word(outcome: Outcome) -> Any:
    """What the target says to the source."""
    (sent,) = (*outcome.sends, *outcome.answers)
    assert (sent.kind, sent.id) == ("cart", "one")
    return sent.command


def stands(source: Entity, transfer: str) -> Any:
    outcome = source.when(AskTransfer(transfer=transfer))
    assert outcome.events == ()
    return outcome.reply


# The whole way


def test_lines_leave_the_source_first_and_the_target_takes_them() -> None:
    one, two = cart(*added(line(quantity=2), line("MUG"))), cart(*added(line("TEE", 3)), id="two")
    began = one.when(GiveLines(target="two", quotes=(quote("MUG", cents=700),), available={"TEE": 9}))
    (given,) = began.events
    assert isinstance(given, LinesGiven)
    assert (given.lines, given.ask_at) == ((line(quantity=2), line("MUG", cents=700)), NOON + MINUTE)
    assert began.reply == TransferBegun(transfer=given.transfer, own=True)
    assert (one.state.lines, one.state.away) == ((), (line(quantity=2), line("MUG")))
    assert stands(one, given.transfer) == TransferStands(under_way=True)

    (sent,) = began.sends
    changes = (
        MergeChange(sku="TEE", before=3, after=5, reason="merged"),
        MergeChange(sku="MUG", before=0, after=1, reason="merged"),
    )
    taken = two.when(sent.command, principal="cart:one")
    assert taken.events[0] == LinesTaken(at=NOON, transfer=given.transfer, source="one", changes=changes)
    assert [type(event) for event in taken.events[1:]] == [LineChanged, LineAdded]
    assert pieces(two) == [("TEE", 5), ("MUG", 1)]
    assert two.state.lines[1].quote == quote("MUG", cents=700)

    said = word(taken)
    assert said == TransferTaken(transfer=given.transfer, changes=changes)
    done = one.when(said)
    assert (done.events, done.sends) == ((TransferDone(at=NOON, transfer=given.transfer, changes=changes),), ())
    assert (one.state.lines, one.state.transfer, one.wake_at) == ((), None, None)
    outcome = TransferOutcome(transfer=given.transfer, changes=changes)
    assert stands(one, given.transfer) == TransferStands(under_way=False, outcome=outcome)


def test_what_is_put_in_meanwhile_stays_and_can_be_given_later() -> None:
    one, two = cart(*added(line())), cart(id="two")
    first = give(one)
    one.when(AddLine(quote=quote("MUG"), quantity=2))
    busy = one.when(GiveLines(target="three"))
    assert (busy.events, busy.reply) == ((), TransferBegun(transfer=first.transfer, own=False))
    one.when(word(two.when(first)))
    assert (pieces(one), pieces(two)) == ([("MUG", 2)], [("TEE", 1)])
    second = give(one)
    assert second.transfer != first.transfer
    one.when(word(two.when(second)))
    assert (pieces(one), pieces(two)) == ([], [("TEE", 1), ("MUG", 2)])


def test_of_two_merges_of_one_source_only_one_gets_the_lines() -> None:
    one, two, three = cart(*added(line(quantity=2))), cart(id="two"), cart(id="three")
    first = give(one, "two")
    assert one.when(GiveLines(target="three")).reply == TransferBegun(transfer=first.transfer, own=False)
    one.when(word(two.when(first)))
    nothing = one.when(GiveLines(target="three"))
    assert (nothing.events, nothing.reply) == ((), TransferBegun(transfer=None, own=True))
    assert (pieces(one), pieces(two), pieces(three)) == ([], [("TEE", 2)], [])


def test_two_carts_may_be_merged_into_each_other_at_once() -> None:
    one, two = cart(*added(line(quantity=2))), cart(*added(line("MUG")), id="two")
    there, back = give(one), give(two, "one")
    (taken,) = one.when(back).sends
    one.when(word(two.when(there)))
    two.when(taken.command)
    assert (pieces(one), pieces(two)) == ([("MUG", 1)], [("TEE", 2)])
    assert (one.state.transfer, two.state.transfer) == (None, None)


def test_a_transfer_is_known_by_its_carts_command_and_version() -> None:
    def transfer(target: str, command: str, *more: Any) -> str:
        outcome = cart(*added(line(), *more)).when(GiveLines(target=target), command_id=command)
        assert isinstance(outcome.reply, TransferBegun)
        return str(outcome.reply.transfer)

    first = transfer("two", "key")
    assert first == transfer("two", "key")
    assert len({first, transfer("three", "key"), transfer("two", "other"), transfer("two", "key", line("MUG"))}) == 4
    assert len(first) == 40


# What adds up


def test_a_merge_says_what_it_capped_and_dropped() -> None:
    two = cart(*added(line("TEE", 3), line("MUG", 8)), id="two")
    lines = (line("TEE", 2, seconds=1800), line("MUG", 5), line("CAP", 4), line("BAG", 1), line("HAT", 1))
    outcome = two.when(
        TakeLines(transfer="t", source="one", lines=lines, available={"CAP": 3, "BAG": 0}, unsold=("HAT",))
    )
    assert word(outcome).changes == (
        MergeChange(sku="TEE", before=3, after=5, reason="merged"),
        MergeChange(sku="MUG", before=8, after=10, reason="capped_by_limit"),
        MergeChange(sku="CAP", before=0, after=3, reason="capped_by_stock"),
        MergeChange(sku="BAG", before=0, after=0, reason="dropped"),
        MergeChange(sku="HAT", before=0, after=0, reason="dropped"),
    )
    tee, mug, cap = two.state.lines
    assert (tee.id, tee.quote, tee.quantity) == ("line TEE", quote(seconds=1800), 5)
    assert (mug.quote, mug.quantity) == (quote("MUG"), 10)
    assert (cap.quote, cap.quantity) == (quote("CAP"), 3)


def test_a_merge_never_takes_pieces_away() -> None:
    two = cart(*added(line("TEE", 5), line("MUG", 2)), id="two")
    take = TakeLines(
        transfer="t", source="one", lines=(line("TEE"), line("MUG")), available={"TEE": 2}, unsold=("MUG",)
    )
    outcome = two.when(take)
    assert word(outcome).changes == (
        MergeChange(sku="TEE", before=5, after=5, reason="capped_by_stock"),
        MergeChange(sku="MUG", before=2, after=2, reason="dropped"),
    )
    assert len(outcome.events) == 1
    assert pieces(two) == [("TEE", 5), ("MUG", 2)]


def test_the_order_of_merges_does_not_matter() -> None:
    sources = (
        (line("TEE", 4, cents=900, seconds=1200), line("MUG", 2)),
        (line("TEE", 7, cents=800, seconds=1500), line("CAP")),
        (line("CAP", 3, cents=50), line("MUG", 9)),
    )
    results = []
    for order in permutations(enumerate(sources)):
        target = cart(*added(line("TEE")), id="target")
        for number, lines in order:
            target.when(TakeLines(transfer=f"t{number}", source="one", lines=lines, available={"MUG": 8}))
        results.append({each.quote.sku: (each.quantity, each.quote) for each in target.state.lines})
    assert len(results) == 6
    assert all(result == results[0] for result in results)
    assert {sku: quantity for sku, (quantity, _) in results[0].items()} == {"TEE": 10, "MUG": 8, "CAP": 4}
    assert results[0]["TEE"][1] == quote(cents=800, seconds=1500)


def test_of_quotes_that_hold_as_long_always_the_same_one_stands() -> None:
    cheap, dear = quote(cents=900), quote(cents=1000)
    assert fresher(cheap, dear) == fresher(dear, cheap)
    assert fresher(quote(cents=900, seconds=901), dear) == quote(cents=900, seconds=901)


# Refused, and undone


def test_a_source_that_is_being_paid_gives_nothing() -> None:
    outcome = frozen().when(GiveLines(target="two"))
    assert (outcome.code, outcome.pointers) == ("cart_frozen", ["/from"])
    assert outcome.rejection is not None
    assert outcome.rejection.extra == {"order": "/api/v1/orders/o1"}


@pytest.mark.parametrize(
    ("it", "command", "code"),
    [
        (Entity(Cart(RULES)), AllowMerge(), "not_found"),
        (Entity(Cart(RULES)), GiveLines(target="two"), "not_found"),
        (Entity(Cart(RULES)), AskTransfer(transfer="t"), "not_found"),
        (cart(*added(line())), GiveLines(target="one"), "invalid"),
        (cart(), AllowMerge(expect=7), "version_mismatch"),
        (frozen(), AllowMerge(), "cart_frozen"),
    ],
)
def test_a_merge_that_can_not_be_is_refused(it: Entity, command: Any, code: str) -> None:
    outcome = it.when(command)
    assert (outcome.code, outcome.events) == (code, ())


def test_an_open_cart_allows_a_merge_and_does_not_change() -> None:
    outcome = cart().when(AllowMerge(expect=1))
    assert (outcome.events, outcome.reply) == ((), CartKept(id="one", version=1))


@pytest.mark.parametrize(
    ("target", "fields", "code"),
    [
        (cart(*added(line("A")), READY, CartFroze(at=NOON, order="o", deadline=DEADLINE), id="two"), {}, "cart_frozen"),
        (cart(*added(line("A"), line("B")), id="two"), {}, "too_many_lines"),
        (cart(id="two"), {"target_version": 9}, "version_mismatch"),
        (cart(id="two"), {"quotes": (quote("MUG", currency="EUR"),)}, "currency_mismatch"),
    ],
)
def test_a_target_that_can_not_take_the_lines_gives_them_back(
    target: Entity, fields: dict[str, Any], code: str
) -> None:
    one = cart(*added(line(quantity=2), line("MUG")))
    before, there = one.state.lines, target.state.lines
    message = give(one, **fields)
    refused = target.when(message)
    (event,) = refused.events
    assert isinstance(event, TransferRefused)
    said = word(refused)
    assert (said.transfer, said.refusal.code, target.state.lines) == (message.transfer, code, there)
    back = one.when(said)
    assert back.events == (LinesGivenBack(at=NOON, transfer=message.transfer, refusal=said.refusal),)
    assert (one.state.lines, one.state.transfer, one.wake_at, back.sends) == (before, None, None, ())
    outcome = TransferOutcome(transfer=message.transfer, refusal=said.refusal)
    assert stands(one, message.transfer) == TransferStands(under_way=False, outcome=outcome)


def test_a_target_that_does_not_exist_gives_the_lines_back() -> None:
    one, nobody = cart(*added(line())), Entity(Cart(RULES), id="two")
    message = give(one)
    refused = nobody.when(message)
    assert (refused.events, word(refused).refusal.code) == ((), "not_found")
    late = nobody.when(SettleTransfer(transfer=message.transfer, source="one"))
    assert (late.events, word(late)) == ((), GiveBack(transfer=message.transfer, refusal=TOO_LATE))
    one.when(word(refused))
    assert pieces(one) == [("TEE", 1)]


def test_a_line_of_another_currency_that_is_not_sold_there_is_no_hindrance() -> None:
    two = cart(id="two")
    two.when(TakeLines(transfer="t", source="one", lines=(line(), line("MUG", currency="EUR")), unsold=("MUG",)))
    assert pieces(two) == [("TEE", 1)]


def test_lines_that_come_back_are_added_to_what_was_put_in_meanwhile() -> None:
    meanwhile = (
        AddLine(quote=quote("CAP"), quantity=1),
        AddLine(quote=quote("TEE", cents=900, seconds=1000), quantity=3),
        PatchCart(shipping_method="local"),
    )
    one, never = (cart(*added(line(quantity=2), line("MUG"))) for _ in range(2))
    message = give(one)
    for command in meanwhile:
        assert one.when(command).code is None
        assert never.when(command).code is None
    one.when(GiveBack(transfer=message.transfer, refusal=REFUSAL))
    assert pieces(one) == [("TEE", 5), ("MUG", 1), ("CAP", 1)]
    assert [(each.quote, each.quantity) for each in one.state.lines] == [
        (each.quote, each.quantity) for each in never.state.lines
    ]
    assert [each.id for each in one.state.lines[:2]] == ["line TEE", "line MUG"]


def test_room_is_kept_for_lines_that_may_come_back() -> None:
    one = cart(*added(line("TEE", 8), line("MUG"), line("CAP")))
    message = give(one)
    assert one.when(AddLine(quote=quote("TEE"), quantity=3)).code == "quantity_limit"
    assert one.when(AddLine(quote=quote("HAT"), quantity=1)).code == "too_many_lines"
    assert one.when(AddLine(quote=quote("TEE"), quantity=1)).code is None
    assert one.when(SetLine(line="TEE", quantity=3)).code == "quantity_limit"
    assert one.when(SetLine(line="TEE", quantity=2)).code is None
    other = TakeLines(transfer="other", source="one", lines=(line("TEE", 5), line("MUG", 3)))
    assert [change.after for change in word(one.when(other)).changes] == [2, 3]
    more = TakeLines(transfer="more", source="one", lines=(line("HAT"),))
    assert word(one.when(more)).refusal.code == "too_many_lines"
    one.when(GiveBack(transfer=message.transfer, refusal=REFUSAL))
    assert pieces(one) == [("TEE", 10), ("MUG", 4), ("CAP", 1)]


def test_a_cart_beyond_a_limit_that_was_lowered_still_takes_more_of_what_it_has() -> None:
    two = cart(*added(line("A"), line("B"), line("C"), line("TEE")), id="two")
    two.when(TakeLines(transfer="t", source="one", lines=(line(),)))
    assert pieces(two)[-1] == ("TEE", 2)


# Ordered meanwhile


def ordered_while_given() -> tuple[Entity, Any]:
    """A cart that gave TEE away and is being paid with MUG in it."""
    one = cart(*added(line()), READY)
    message = give(one)
    one.when(AddLine(quote=quote("MUG"), quantity=2))
    outcome = one.when(FreezeCart(order="o1", version=one.version, deadline=DEADLINE))
    (sent,) = outcome.sends
    assert isinstance(sent.command, CartFrozen)
    assert [each.quote.sku for each in sent.command.lines] == ["MUG"]
    return one, message


def test_lines_that_come_back_while_the_cart_is_paid_outlive_the_order() -> None:
    one, message = ordered_while_given()
    one.when(GiveBack(transfer=message.transfer, refusal=REFUSAL))
    assert (pieces(one), one.state.returned, one.state.transfer) == ([("MUG", 2)], (line(),), None)
    assert one.wake_at == DEADLINE
    one.when(ClearCart(order="o1"))
    assert (pieces(one), one.state.returned) == ([("TEE", 1)], ())


def test_lines_that_come_back_while_the_cart_is_paid_join_when_it_opens() -> None:
    one, message = ordered_while_given()
    one.when(GiveBack(transfer=message.transfer, refusal=REFUSAL))
    one.when(OpenCart(order="o1"))
    assert (pieces(one), one.state.returned) == ([("TEE", 1), ("MUG", 2)], ())


def test_lines_that_come_back_after_the_order_are_simply_there() -> None:
    one, message = ordered_while_given()
    one.when(ClearCart(order="o1"))
    assert pieces(one) == []
    one.when(GiveBack(transfer=message.transfer, refusal=REFUSAL))
    assert pieces(one) == [("TEE", 1)]


# Repeated, late, lost


def test_repeated_messages_change_nothing_and_are_answered_again() -> None:
    one, two = cart(*added(line(quantity=2))), cart(id="two")
    message = give(one)
    said = word(two.when(message))
    again = two.when(message)
    assert (again.events, word(again)) == ((), TransferTaken(transfer=message.transfer))
    one.when(said)
    for late in (said, word(again), GiveBack(transfer=message.transfer, refusal=REFUSAL)):
        assert one.when(late).events == ()
    assert (held(one, two), stands(one, message.transfer).outcome.changes) == ({"TEE": 2}, said.changes)


def test_what_was_refused_is_not_taken_when_it_comes_again() -> None:
    one = cart(*added(line()))
    two = cart(*added(line("MUG")), READY, CartFroze(at=NOON, order="o1", deadline=DEADLINE), id="two")
    message = give(one)
    said = word(two.when(message))
    one.when(said)
    two.when(OpenCart(order="o1"))
    again = two.when(message)
    assert (again.events, word(again)) == ((), said)
    assert one.when(said).events == ()
    assert held(one, two) == {"TEE": 1, "MUG": 1}


def test_the_word_of_an_unknown_transfer_is_no_word() -> None:
    for it in (cart(*added(line())), Entity(Cart(RULES))):
        assert it.when(TransferTaken(transfer="t")).events == ()
        assert it.when(GiveBack(transfer="t", refusal=REFUSAL)).events == ()
    one = cart(*added(line()))
    give(one)
    assert one.when(TransferTaken(transfer="t")).events == ()
    assert held(one) == {"TEE": 1}


def test_a_source_that_hears_nothing_asks_again_and_again() -> None:
    one, two = cart(*added(line(), line("MUG"))), cart(id="two")
    message = give(one)
    assert one.wake_at == NOON + MINUTE
    assert one.when(Wake()).events == ()
    asked = one.when(Wake(), now=NOON + MINUTE)
    again = NOON + 2 * MINUTE
    assert asked.events == (TransferAsked(at=NOON + MINUTE, transfer=message.transfer, target="two", ask_at=again),)
    assert asked.sends == (Send("cart", "two", SettleTransfer(transfer=message.transfer, source="one")),)
    one.when(Wake(), now=again)
    assert one.wake_at == NOON + 4 * MINUTE
    one.when(Wake(), now=NOON + timedelta(days=9))
    assert one.wake_at == NOON + timedelta(days=10)

    # The lines never came: they are refused from now on, and back.
    refused = two.when(asked.sends[0].command)
    assert word(refused) == GiveBack(transfer=message.transfer, refusal=TOO_LATE)
    one.when(word(refused))
    assert pieces(one) == [("TEE", 1), ("MUG", 1)]
    assert two.when(message).events == ()
    assert held(one, two) == {"TEE": 1, "MUG": 1}


def test_a_target_that_is_asked_says_again_what_it_did() -> None:
    one, two = cart(*added(line())), cart(id="two")
    message = give(one)
    two.when(message)  # its word is lost
    said = word(two.when(SettleTransfer(transfer=message.transfer, source="one")))
    assert said == TransferTaken(transfer=message.transfer)
    one.when(said)
    assert (pieces(one), pieces(two)) == ([], [("TEE", 1)])


def test_a_cart_that_is_paid_and_waits_asks_for_both() -> None:
    one, _ = ordered_while_given()
    assert one.wake_at == NOON + MINUTE
    both = one.when(Wake(), now=NOON + MINUTE)
    assert [type(event).__name__ for event in both.events] == ["TransferAsked", "FreezeExtended"]
    assert one.wake_at == NOON + 2 * MINUTE


# Bounds, and old logs


def test_only_the_last_transfers_are_remembered() -> None:
    two = cart(id="two")
    for number in range(60):
        two.when(TakeLines(transfer=f"t{number}", source="one", lines=(line(),), available={"TEE": 1}))
    assert isinstance(two.state, CartState)
    assert (len(two.state.received), two.state.received[0]) == (50, Received(transfer="t10"))

    one = cart()
    transfers = []
    for _ in range(6):
        one.when(AddLine(quote=quote(), quantity=1))
        transfers.append(give(one).transfer)
        one.when(TransferTaken(transfer=transfers[-1]))
    assert [outcome.transfer for outcome in one.state.outcomes] == transfers[-4:]
    assert stands(one, transfers[0]) == TransferStands(under_way=False, outcome=None)


def test_a_transfer_that_was_asked_about_keeps_its_lines() -> None:
    one = cart(*added(line(quantity=2)))
    message = give(one)
    one.when(Wake(), now=NOON + MINUTE)
    assert one.state.transfer == Transfer(
        id=message.transfer,
        target="two",
        lines=(line(quantity=2),),
        given_at=NOON,
        ask_at=NOON + 2 * MINUTE,
    )


def test_merges_of_the_time_before_transfers_are_still_read() -> None:
    two = cart(CartMergedFrom(at=NOON, source="one", source_version=2), *added(line()), id="two")
    assert pieces(two) == [("TEE", 1)]
    one = cart(*added(line()), CartCleared(at=NOON, reason="merged", by="two"))
    assert pieces(one) == []


def test_a_fault_of_the_edge_names_the_source() -> None:
    outcome = cart().when(GiveLines(target="one"))
    assert outcome.rejection is not None
    assert outcome.rejection.errors == (Fault("/from", "a cart can't be merged with itself"),)


def lines_of(*quantities: int) -> tuple[CartLine, ...]:
    return tuple(line(f"SKU-{number}", quantity) for number, quantity in enumerate(quantities))


@pytest.mark.parametrize("crash", range(4))
def test_wherever_messages_are_repeated_every_piece_stands_in_one_place(crash: int) -> None:
    """Message number `crash` comes twice; nothing is lost and nothing doubled at any moment."""
    one, two = cart(*added(*lines_of(2, 3))), cart(id="two")
    everything = held(one)
    carts, number = {"one": one, "two": two}, 0
    waiting = list(one.when(GiveLines(target="two")).sends)
    one.when(Wake(), now=NOON + MINUTE)
    waiting.append(Send("cart", "two", SettleTransfer(transfer=waiting[0].command.transfer, source="one")))
    while waiting:
        send = waiting.pop(0)
        for _ in range(2 if number == crash else 1):
            outcome = carts[send.id].when(send.command)
            waiting += [*outcome.sends, *outcome.answers]
        number += 1
    assert held(one, two) == everything
    assert (one.state.transfer, pieces(two)) == (None, [("SKU-0", 2), ("SKU-1", 3)])
