"""Cart: lines within limits, still while an order is made of it, and never frozen for ever."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actors.cart import Cart
from tests.actors.carts import DEADLINE, EMAIL, HOME, READY, RULES, added, cart, frozen, line, quote
from tests.actors.harness import NOON, Entity
from ultramarket.domain.shop import ShopRules
from ultramarket.messages.cart import (
    AddLine,
    CartCleared,
    CartCreated,
    CartFroze,
    CartKept,
    CartLine,
    CartOpened,
    CartPatched,
    ClearCart,
    CreateCart,
    FreezeCart,
    FreezeExtended,
    KeepFrozen,
    LineAdded,
    LineChanged,
    LineRemoved,
    OpenCart,
    PatchCart,
    Requote,
    SetLine,
)
from ultramarket.messages.common import ShownAddress, ShownMoney, Wake
from ultramarket.messages.order import CartAsks, CartFrozen, CartRefused, Reason
from ultramarket.runtime.actor import Send

# Creating


def test_a_new_cart_is_open_and_has_a_key_of_its_own() -> None:
    it = Entity(Cart(RULES))
    outcome = it.when(CreateCart(currency="EUR"))
    assert outcome.events == (CartCreated(at=NOON, currency="EUR", channel="default", subject="cart:one"),)
    assert outcome.reply == CartKept(id="one", version=1)
    assert it.actor.subject(it.state) == "cart:one"
    assert (it.wake_at, it.shown().status, it.shown().order) == (None, "open", None)


def test_a_cart_is_created_once() -> None:
    assert (cart().when(CreateCart(currency="USD")).code) == "cart_exists"


@pytest.mark.parametrize(
    ("command", "pointer"),
    [(CreateCart(currency="usd"), "/currency"), (CreateCart(currency="USD", channel="moon"), "/channel")],
)
def test_a_cart_needs_a_known_currency_and_channel(command: CreateCart, pointer: str) -> None:
    outcome = Entity(Cart(RULES)).when(command)
    assert (outcome.code, outcome.pointers) == ("invalid", [pointer])


# Lines


def test_a_line_that_has_the_sku_grows_and_takes_the_new_quote() -> None:
    it = cart()
    first = it.when(AddLine(quote=quote(), quantity=2, expect=1))
    (event,) = first.events
    assert isinstance(event, LineAdded)
    assert (event.line.quote, event.line.quantity, first.reply) == (quote(), 2, CartKept(id="one", version=2))
    again = it.when(AddLine(quote=quote(cents=900), quantity=3))
    assert again.events == (LineChanged(at=NOON, line=CartLine(id=event.line.id, quote=quote(cents=900), quantity=5)),)


def test_line_ids_are_the_same_for_a_repeat_and_differ_otherwise() -> None:
    ids = [
        cart().when(AddLine(quote=quote(sku), quantity=1), command_id=command).events[0].line.id
        for sku, command in [("TEE", "a"), ("TEE", "a"), ("TEE", "b"), ("MUG", "a")]
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("command", "code", "status"),
    [
        (AddLine(quote=quote(), quantity=0), "invalid", 422),
        (AddLine(quote=quote(), quantity=11), "quantity_limit", 422),
        (AddLine(quote=quote("MUG"), quantity=8), "quantity_limit", 422),
        (AddLine(quote=quote(currency="EUR"), quantity=1), "currency_mismatch", 422),
        (AddLine(quote=quote("CAP"), quantity=1), "too_many_lines", 422),
        (AddLine(quote=quote(), quantity=1, expect=3), "version_mismatch", 412),
        (SetLine(line="CAP", quantity=1), "line_not_found", 404),
        (SetLine(line="MUG", quantity=-1), "invalid", 422),
        (SetLine(line="MUG", quantity=11), "quantity_limit", 422),
        (SetLine(line="MUG", quantity=1, quote=quote("MUG", currency="EUR")), "currency_mismatch", 422),
        (SetLine(line="MUG", quantity=1, quote=quote("TEE")), "invalid", 422),
        (SetLine(line="MUG", quantity=1, expect=3), "version_mismatch", 412),
        (PatchCart(shipping_method="balloon"), "invalid", 422),
    ],
)
def test_a_write_that_can_not_be_is_refused(command: Any, code: str, status: int) -> None:
    it = cart(*added(line("MUG", 3), line("TEE"), line("BAG")))
    outcome = it.when(command)
    assert (outcome.code, outcome.rejection.status) == (code, status)


def test_a_line_is_set_by_its_id_or_sku() -> None:
    it = cart(*added(line()))
    by_id = it.when(SetLine(line="line TEE", quantity=3))
    assert by_id.events == (LineChanged(at=NOON, line=line(quantity=3)),)
    by_sku = it.when(SetLine(line="TEE", quantity=3, quote=quote(cents=900)))
    assert by_sku.events == (LineChanged(at=NOON, line=line(quantity=3, cents=900)),)


def test_a_line_set_to_what_it_is_records_nothing() -> None:
    outcome = cart(*added(line())).when(SetLine(line="TEE", quantity=1))
    assert (outcome.events, outcome.reply) == ((), CartKept(id="one", version=2))


def test_a_line_set_to_nothing_is_removed() -> None:
    it = cart(*added(line(), line("MUG")))
    assert it.when(SetLine(line="TEE", quantity=0)).events == (LineRemoved(at=NOON, line="line TEE"),)
    assert [each.quote.sku for each in it.state.lines] == ["MUG"]


# Fields


def test_a_patch_sets_and_clears_only_what_it_names() -> None:
    it = cart(READY)
    outcome = it.when(PatchCart(email=None, billing_address=HOME, shipping_method="standard"))
    assert outcome.events == (CartPatched(at=NOON, email=None, billing_address=HOME),)
    assert outcome.reply == CartKept(id="one", version=3)
    assert (it.state.email, it.state.shipping_address, it.state.billing_address) == (None, HOME, HOME)
    assert it.when(PatchCart(shipping_method=None)).events == (CartPatched(at=NOON, shipping_method=None),)


def test_a_patch_to_what_is_already_records_nothing() -> None:
    assert cart(READY).when(PatchCart(shipping_method="standard")).events == ()


# Quotes


def test_new_quotes_replace_those_of_the_same_sku() -> None:
    it = cart(*added(line("TEE"), line("MUG")))
    fresh = quote("TEE", cents=1200)
    outcome = it.when(Requote(quotes=(fresh, quote("MUG"), quote("CAP"), quote("MUG", currency="EUR"))))
    assert outcome.events == (LineChanged(at=NOON, line=line("TEE", cents=1200)),)
    assert outcome.reply == CartKept(id="one", version=4)


def test_only_its_order_requotes_a_frozen_cart() -> None:
    it = frozen()
    fresh = Requote(quotes=(quote(cents=1200),))
    assert it.when(fresh).code == "cart_frozen"
    late = it.when(fresh, principal="order:o2")
    assert (late.code, late.events) == (None, ())
    assert len(it.when(fresh, principal="order:o1").events) == 1


# Freezing


def content(*lines: CartLine) -> CartFrozen:
    return CartFrozen(
        cart="one",
        currency="USD",
        channel="default",
        lines=lines,
        email=EMAIL,
        shipping_address=HOME,
        shipping_method="standard",
    )


def test_a_cart_freezes_for_an_order_and_sends_its_content() -> None:
    it = cart(*added(line()), READY)
    outcome = it.when(FreezeCart(order="o1", version=3, deadline=DEADLINE))
    assert outcome.events == (CartFroze(at=NOON, order="o1", deadline=DEADLINE),)
    assert outcome.sends == (Send("order", "o1", content(line())),)
    assert (it.wake_at, it.shown().status, it.shown().order) == (DEADLINE, "frozen", "o1")


def test_the_same_order_gets_the_same_answer_again() -> None:
    it = frozen()
    outcome = it.when(FreezeCart(order="o1", version=3, deadline=DEADLINE))
    assert (outcome.events, outcome.answers) == ((), (Send("order", "o1", content(line())),))


@pytest.mark.parametrize(
    ("it", "version", "code"),
    [
        (Entity(Cart(RULES)), 0, "not_found"),
        (frozen("o2"), 4, "cart_frozen"),
        (cart(*added(line()), READY), 2, "cart_changed"),
        (cart(READY), 2, "cart_empty"),
        (cart(*added(line()), replace(READY, email=None)), 3, "email_missing"),
        (cart(*added(line()), replace(READY, shipping_address=None)), 3, "shipping_address_missing"),
        (cart(*added(line()), replace(READY, shipping_method=None)), 3, "shipping_method_missing"),
        (
            cart(
                *added(line()),
                replace(READY, shipping_method="local", shipping_address=replace(HOME, country="DE")),
            ),
            3,
            "shipping_not_available",
        ),
    ],
)
def test_a_cart_that_can_not_be_ordered_is_refused_to_the_order(it: Entity, version: int, code: str) -> None:
    outcome = it.when(FreezeCart(order="o1", version=version, deadline=DEADLINE))
    (answer,) = outcome.answers
    assert isinstance(answer.command, CartRefused)
    assert isinstance(answer.command.reason, Reason)
    assert (outcome.events, answer.kind, answer.id, answer.command.reason.code) == ((), "order", "o1", code)


def test_shipping_without_a_price_in_the_carts_currency_is_not_available() -> None:
    created = CartCreated(at=NOON, currency="EUR", channel="default", subject="cart:one")
    it = Entity(Cart(RULES)).given(created, *added(line(currency="EUR")), READY)
    (answer,) = it.when(FreezeCart(order="o1", version=3, deadline=DEADLINE)).answers
    assert answer.command.reason.code == "shipping_not_available"


@pytest.mark.parametrize(
    "command",
    [
        AddLine(quote=quote(), quantity=1),
        SetLine(line="TEE", quantity=0),
        PatchCart(shipping_method="local"),
    ],
)
def test_no_client_writes_to_a_frozen_cart(command: Any) -> None:
    outcome = frozen().when(command)
    assert (outcome.code, outcome.rejection.status) == ("cart_frozen", 409)
    assert outcome.rejection.extra == {"order": "/api/v1/orders/o1"}
    assert Entity(Cart(RULES)).when(command).rejection.status == 404


def test_its_order_opens_a_cart_which_moves_the_version_on() -> None:
    it = frozen()
    assert it.when(OpenCart(order="o1")).events == (CartOpened(at=NOON, order="o1"),)
    assert (it.wake_at, it.shown().status, it.shown().order, it.version) == (None, "open", "o1", 5)
    (answer,) = it.when(FreezeCart(order="o1", version=3, deadline=DEADLINE)).answers
    assert answer.command.reason.code == "cart_changed"


def test_a_paid_order_empties_the_cart_and_leaves_who_buys() -> None:
    it = frozen()
    assert it.when(ClearCart(order="o1")).events == (CartCleared(at=NOON, reason="ordered", by="o1"),)
    assert (it.state.lines, it.state.email, it.state.shipping_address, it.wake_at) == ((), EMAIL, HOME, None)


@pytest.mark.parametrize("order", [OpenCart, ClearCart, KeepFrozen])
def test_the_word_of_another_order_changes_nothing(order: Any) -> None:
    fields = {"deadline": DEADLINE} if order is KeepFrozen else {}
    assert frozen().when(order(order="o2", **fields)).events == ()
    assert cart().when(order(order="o1", **fields)).events == ()
    assert Entity(Cart(RULES)).when(order(order="o1", **fields)).events == ()


def test_a_cart_whose_deadline_passed_asks_its_order_and_waits_again() -> None:
    it = frozen()
    outcome = it.when(Wake(), now=DEADLINE)
    again = DEADLINE + timedelta(seconds=60)
    assert outcome.events == (FreezeExtended(at=DEADLINE, order="o1", deadline=again, asked=True),)
    assert outcome.sends == (Send("order", "o1", CartAsks(cart="one")),)
    assert it.wake_at == again


def test_an_order_that_still_runs_keeps_the_cart_frozen() -> None:
    it = frozen()
    later = DEADLINE + timedelta(minutes=15)
    outcome = it.when(KeepFrozen(order="o1", deadline=later))
    assert outcome.events == (FreezeExtended(at=NOON, order="o1", deadline=later),)
    assert (outcome.sends, it.wake_at) == ((), later)


def test_a_wake_that_nobody_asked_for_changes_nothing() -> None:
    assert frozen().when(Wake()).events == ()
    assert cart().when(Wake()).events == ()
    assert Entity(Cart(RULES)).when(Wake()).events == ()
    assert Entity(Cart(RULES)).when(Requote(quotes=())).code == "not_found"


# Showing


def test_the_public_form_opens_personal_values_and_adds_up() -> None:
    shown = cart(*added(line("TEE", 2), line("MUG", cents=750)), READY).shown()
    assert shown.email == "ann@example.com"
    assert shown.shipping_address == ShownAddress(
        name="Ann",
        line1="1 Main St",
        line2=None,
        city="Utica",
        region="NY",
        postal_code="13501",
        country="US",
        phone=None,
    )
    assert shown.billing_address is None
    assert [(each.sku, each.quantity, each.total) for each in shown.lines] == [
        ("TEE", 2, ShownMoney("20.00", "USD")),
        ("MUG", 1, ShownMoney("7.50", "USD")),
    ]
    assert shown.totals.subtotal == ShownMoney("27.50", "USD")
    assert shown.totals.shipping == ShownMoney("5.00", "USD")
    assert shown.totals.total == ShownMoney("32.50", "USD")


def test_an_unset_shipping_method_costs_nothing_yet() -> None:
    shown = cart(*added(line())).shown()
    assert (shown.email, shown.shipping_method) == (None, None)
    assert shown.totals.shipping == ShownMoney("0.00", "USD")


def test_a_channel_that_the_shop_gave_up_is_priced_as_the_first() -> None:
    gone = CartCreated(at=NOON, currency="USD", channel="gone", subject="cart:one")
    assert Entity(Cart(RULES)).given(gone, *added(line())).shown().totals.total == ShownMoney("10.00", "USD")
    nowhere = Entity(Cart(ShopRules(channels=()))).given(gone)
    with pytest.raises(ValueError, match="no channel"):
        nowhere.shown()


def test_a_log_that_does_not_begin_with_the_creation_is_an_error() -> None:
    with pytest.raises(ValueError, match="before the cart's creation"):
        Cart(RULES).evolve(None, CartOpened(at=NOON, order="o1"))
