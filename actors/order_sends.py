"""What an order asks of the other actors: for the next step, and to undo what it asked for."""

from datetime import datetime

from msgspec.structs import replace

from actors.order_state import OrderState
from ultramarket.domain.money import Money
from ultramarket.messages.cart import ClearCart, OpenCart, Quote, Requote
from ultramarket.messages.inventory import CommitHold, ConfirmHold, ReleaseHold, ReserveStock, Restock
from ultramarket.messages.payment import CreatePayment, GiveBack
from ultramarket.messages.product import ConfirmQuotes, QuotedLine
from ultramarket.runtime.actor import Send


def confirm_quotes(state: OrderState, order: str) -> list[Send]:
    """Ask each product once whether its lines may be sold so, judged by when the order was placed."""
    asked: dict[str, list[QuotedLine]] = {}
    for line in state.bought():
        quote = line.quote
        quoted = QuotedLine(sku=quote.sku, price=quote.price, locked_until=quote.locked_until)
        asked.setdefault(quote.product, []).append(quoted)
    return [
        Send("product", product, ConfirmQuotes(order=order, at=state.created_at, lines=tuple(lines)))
        for product, lines in asked.items()
    ]


def reserve_stock(state: OrderState, order: str, expires_at: datetime) -> list[Send]:
    """Ask every tracked SKU at once to hold its pieces."""
    return [
        Send(
            "inventory",
            sku,
            ReserveStock(order=order, quantity=pieces, expires_at=expires_at, when_out=state.judged[sku].when_out),
        )
        for sku, pieces in state.stock().items()
    ]


def create_payment(state: OrderState, order: str, amount: Money) -> Send:
    """Ask for the authorisation of the amount."""
    create = CreatePayment(order=order, amount=amount, gateway=state.gateway, method=state.method)
    return Send("payment", state.payment, create)


def confirm_holds(state: OrderState, order: str) -> list[Send]:
    """Ask every held SKU to keep its pieces for good."""
    return [
        Send("inventory", sku, ConfirmHold(order=order, quantity=pieces, when_out=state.judged[sku].when_out))
        for sku, pieces in state.stock().items()
    ]


def complete(state: OrderState, order: str) -> list[Send]:
    """The order is paid: the pieces are sold, and the cart is done."""
    commits = [Send("inventory", sku, CommitHold(order=order)) for sku in state.stock()]
    return [*commits, Send("cart", state.cart, ClearCart(order=order))]


def take_back(state: OrderState, order: str) -> list[Send]:
    """A paid order was cancelled: the money goes back, and the pieces are on hand again."""
    restocks = [
        Send("inventory", sku, Restock(restock=f"{order}:cancel", quantity=pieces))
        for sku, pieces in state.stock().items()
    ]
    return [*_give_back(state, order), *restocks]


def undo(state: OrderState, order: str, locked_until: datetime, not_held: str = "") -> list[Send]:
    """Give back all that was asked for, except for a SKU that refused; what was not granted yet never will be.

    Prices that moved are told to the cart, which may keep them until `locked_until`.
    """
    skus = [sku for sku in state.stock() if sku != not_held] if state.reserving else []
    releases = [Send("inventory", sku, ReleaseHold(order=order)) for sku in skus]
    opened = Send("cart", state.cart, OpenCart(order=order))
    return [*releases, *_give_back(state, order), opened, *_requote(state, locked_until)]


def _give_back(state: OrderState, order: str) -> list[Send]:
    if not state.payment or state.total is None:
        return []
    return [Send("payment", state.payment, GiveBack(order=order, amount=state.total, refund=f"{order}:refund"))]


def _requote(state: OrderState, locked_until: datetime) -> list[Send]:
    """Tell the cart the present prices of what got another one."""
    quotes: list[Quote] = []
    for line in state.bought():
        word = state.judged.get(line.quote.sku)
        if word is not None and word.verdict == "price_changed" and word.price is not None:
            version = state.products[line.quote.product]
            quotes.append(replace(line.quote, price=word.price, product_version=version, locked_until=locked_until))
    return [Send("cart", state.cart, Requote(quotes=tuple(quotes)))] if quotes else []
