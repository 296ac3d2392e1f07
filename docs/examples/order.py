"""An order with the generated Python client: python order.py URL SKU."""

import sys
from typing import TypeVar
from uuid import uuid4

from ultramarket_client import Client
from ultramarket_client.api.carts import add_line_carts, change_carts, create_carts
from ultramarket_client.api.orders import create_orders
from ultramarket_client.models import Cart, CartPatch, NewAddress, NewLine, NewOrder, Order, Payment, Problem

Answer = TypeVar("Answer")


def answered(answer: Answer | Problem | None) -> Answer:
    """The answer, unless it is a refusal."""
    if answer is None or isinstance(answer, Problem):
        sys.exit(f"The shop refused: {answer}")
    return answer


def main(url: str, sku: str) -> None:
    """Buy two pieces."""
    with Client(base_url=f"{url}/api/v1", timeout=30) as shop:
        cart: Cart = answered(create_carts.sync(client=shop, idempotency_key=uuid4().hex))
        answered(
            add_line_carts.sync(cart.id, client=shop, body=NewLine(sku=sku, quantity=2), idempotency_key=uuid4().hex)
        )
        address = NewAddress(name="Ada L.", line1="12 Mill Lane", city="Albany", postal_code="12207", country="US")
        patch = CartPatch(email="ada@example.com", shipping_address=address, shipping_method="standard")
        cart = answered(change_carts.sync(cart.id, client=shop, body=patch))
        new = NewOrder(cart_id=cart.id, cart_version=cart.version, payment=Payment(gateway="sandbox", method="ok"))
        # Under a key of its own the same order may be sent again when no answer came.
        order: Order = answered(create_orders.sync(client=shop, body=new, idempotency_key=uuid4().hex))
        print(order.number, order.payment_status, order.totals.total.amount)


main(*sys.argv[1:3])
