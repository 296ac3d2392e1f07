"""Carts to test with: rules, quotes, lines, and carts that are open or being paid."""

from datetime import timedelta
from typing import Any

from actors.cart import Cart
from tests.actors.harness import NOON, Entity
from ultramarket.domain.money import Money
from ultramarket.domain.shop import Channel, Limits, ShippingMethod, ShippingRate, ShopRules, Timing
from ultramarket.messages.cart import CartCreated, CartFroze, CartLine, CartPatched, LineAdded, Quote
from ultramarket.messages.common import Address, Sealed

RULES = ShopRules(
    channels=(Channel(name="default", currency="USD", country="US", language="en", prices_include_tax=False),),
    shipping=(
        ShippingMethod(code="standard", title={"en": "Standard"}, rates=(ShippingRate(price=Money(500, "USD")),)),
        ShippingMethod(code="local", title={"en": "Local"}, countries=("US",), unpriced="free"),
    ),
    limits=Limits(max_lines=3, max_quantity=10),
    timing=Timing(freeze_seconds=60),
)
DEADLINE = NOON + timedelta(minutes=1)
EMAIL = Sealed("cart:one", "ann@example.com")
HOME = Address(
    name=Sealed("cart:one", "Ann"),
    line1=Sealed("cart:one", "1 Main St"),
    city=Sealed("cart:one", "Utica"),
    postal_code=Sealed("cart:one", "13501"),
    country="US",
    region="NY",
    postal_prefix="135",
)
READY = CartPatched(at=NOON, email=EMAIL, shipping_address=HOME, shipping_method="standard")


def quote(sku: str = "TEE", cents: int = 1000, currency: str = "USD", seconds: int = 900) -> Quote:
    return Quote(
        sku=sku,
        product=f"product of {sku}",
        product_version=1,
        title={"en": sku.title()},
        price=Money(cents, currency),
        weight_grams=200,
        locked_until=NOON + timedelta(seconds=seconds),
    )


def line(sku: str = "TEE", quantity: int = 1, **changes: Any) -> CartLine:
    return CartLine(id=f"line {sku}", quote=quote(sku, **changes), quantity=quantity)


def cart(*events: Any, id: str = "one") -> Entity:
    created = CartCreated(at=NOON, currency="USD", channel="default", subject=f"cart:{id}")
    return Entity(Cart(RULES), id=id).given(created, *events)


def added(*lines: CartLine) -> tuple[LineAdded, ...]:
    return tuple(LineAdded(at=NOON, line=each) for each in lines)


def frozen(order: str = "o1") -> Entity:
    return cart(*added(line()), READY, CartFroze(at=NOON, order=order, deadline=DEADLINE))
