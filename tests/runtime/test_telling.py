"""What is told of stored events: what the actor makes of them, and of the rest that something changed."""

from datetime import UTC, datetime

import msgspec

from actors import Cart, Inventory
from ultramarket.domain.shop import DEFAULT
from ultramarket.messages.cart import CartCleared, FreezeExtended
from ultramarket.messages.cart_told import CartCleared as ToldCleared
from ultramarket.messages.inventory import StockHeld
from ultramarket.runtime.telling import Teller, Told

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TELLER = Teller([Cart(DEFAULT), Inventory()])
CHANGED = Told("Changed", None)


def stored(event: msgspec.Struct) -> str:
    return msgspec.json.encode(event).decode()


def test_an_event_is_told_under_its_public_name() -> None:
    event = CartCleared(at=NOON, reason="ordered", by="order-1")
    assert TELLER.tell("cart", stored(event)) == Told("CartCleared", ToldCleared(reason="ordered"))


def test_an_internal_event_is_told_as_changed() -> None:
    event = FreezeExtended(at=NOON, order="order-1", deadline=NOON)
    assert TELLER.tell("cart", stored(event)) == CHANGED


def test_an_actor_that_tells_nothing_changed() -> None:
    held = StockHeld(at=NOON, order="order-1", quantity=1, expires_at=None)
    assert TELLER.tell("inventory", stored(held)) == CHANGED


def test_what_a_newer_program_wrote_is_told_as_changed() -> None:
    assert TELLER.tell("cart", '{"$type":"CartPainted","colour":"red"}') == CHANGED
    assert TELLER.tell("cart", "no json") == CHANGED
