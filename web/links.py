"""The ways from one call of the API to the next: which value of an answer goes where (OpenAPI 3.1, Link Object).

Calls go by their `operationId`, values by runtime expressions such as `$response.body#/id`.
"""

from dataclasses import dataclass, field
from typing import Any

_ID = {"id": "$response.body#/id"}


@dataclass(frozen=True, slots=True)
class Link:
    """A way to another call.

    Attributes:
        name: unique among those of one call.
        to: `operationId` of the other call.
        description: what that does.
        parameters: parameters of the other call, with where their values come from.
        body: what is known of the other call's body.
    """

    name: str
    to: str
    description: str
    parameters: dict[str, str] = field(default_factory=dict)
    body: Any = None

    def document(self) -> dict[str, Any]:
        """The Link Object."""
        found: dict[str, Any] = {"operationId": self.to, "description": self.description}
        if self.parameters:
            found["parameters"] = self.parameters
        if self.body is not None:
            found["requestBody"] = self.body
        return found


def _read(to: str) -> Link:
    return Link("show", to, "Show it.", _ID)


def _again(to: str, **path: str) -> Link:
    # A field of the answer stands for the address: it is the one that was asked for.
    parameters = {**(path or _ID), "If-None-Match": "$response.header.ETag"}
    return Link("show_if_changed", to, "Show it only if it has changed since.", parameters)


def _repeat(to: str) -> Link:
    parameters = {"Idempotency-Key": "$request.header.Idempotency-Key"}
    return Link("repeat", to, "The same key and body again: the first answer again.", parameters, "$request.body")


_FILL = (
    Link("change", "change_carts", "Say who buys and where it goes.", _ID),
    Link("add_line", "add_line_carts", "Add pieces of a SKU.", _ID),
    Link("merge", "merge_carts", "Take over the lines of another cart.", _ID),
    Link("merge_into", "merge_carts", "Let another cart take over these lines.", body={"from": "$response.body#/id"}),
)
_LINE = {**_ID, "line": "$response.body#/lines/0/id"}
_BUY = (
    Link("set_line", "set_line_carts", "Set the quantity of the first line.", _LINE),
    Link("remove_line", "remove_line_carts", "Remove the first line.", _LINE),
    Link(
        "order",
        "create_orders",
        "Order the cart as it is in this answer.",
        body={"cart_id": "$response.body#/id", "cart_version": "$response.body#/version"},
    ),
)
_CART = (_read("show_carts"), *_FILL, *_BUY)
_PAYMENT = {"id": "$response.body#/payment/id"}
_ORDER = (
    Link("cancel", "cancel_orders", "Cancel it.", _ID),
    Link("payment", "show_payments", "Show how its money stands.", _PAYMENT),
    Link("authenticate", "authenticate_payments", "Play the buyer's part at the sandbox gateway.", _PAYMENT),
    Link("cart", "show_carts", "Show the cart that it was made of.", {"id": "$response.body#/cart"}),
)
_SKU = {"sku": "$response.body#/variants/0/sku"}
_PRODUCT = (
    Link(
        "change",
        "change_products",
        "Change it, if nobody else did meanwhile.",
        {**_ID, "If-Match": "$response.header.ETag"},
    ),
    Link("archive", "archive_products", "Take it out of the shop.", _ID),
    Link("stock", "show_inventory", "Show the stock of its first variant.", _SKU),
    Link("adjust_stock", "adjust_inventory", "Change the stock of its first variant.", _SKU),
    Link("add_to_cart", "add_line_carts", "Put it into a cart.", body=_SKU),
)
_REVIEWS = (
    Link("reviews", "list_reviews_products", "List what buyers say of it.", _ID),
    Link("review", "review_products", "Say what you think of it.", _ID),
)
_REVIEW = (
    Link("judge", "judge_reviews", "Publish or reject it.", _ID),
    Link("vote", "vote_reviews", "Say whether it was helpful.", _ID),
    Link("product", "show_products", "Show the product.", {"id": "$response.body#/product"}),
)
_STOCK = {"sku": "$response.body#/sku"}

LINKS: dict[str, tuple[Link, ...]] = {
    "index_products": (
        Link("next", "index_products", "The next page.", {"cursor": "$response.body#/next"}),
        Link("first", "show_products", "Show the first one.", {"id": "$response.body#/items/0/id"}),
        Link(
            "add_to_cart",
            "add_line_carts",
            "Put the first one into a cart.",
            body={"sku": "$response.body#/items/0/variants/0/sku"},
        ),
    ),
    "create_products": (_read("show_products"), _repeat("create_products"), *_PRODUCT),
    "show_products": (_again("show_products"), *_PRODUCT, *_REVIEWS),
    "change_products": (_read("show_products"), *_PRODUCT),
    "archive_products": (_read("show_products"), *_PRODUCT),
    "create_categories": (_read("show_categories"), _repeat("create_categories")),
    "show_categories": (_again("show_categories"),),
    "create_collections": (_read("show_collections"), _repeat("create_collections")),
    "show_collections": (_again("show_collections"),),
    "create_redirects": (_read("show_redirects"), _repeat("create_redirects")),
    "show_redirects": (_again("show_redirects"),),
    "create_imports": (_read("show_imports"),),
    "show_imports": (_again("show_imports"),),
    "review_products": (_read("show_reviews"), *_REVIEW),
    "list_reviews_products": (
        Link("first", "show_reviews", "Show the first one.", {"id": "$response.body#/items/0/id"}),
    ),
    "index_reviews": (
        Link("next", "index_reviews", "The next page.", {"cursor": "$response.body#/next"}),
        Link("first", "show_reviews", "Show the first one.", {"id": "$response.body#/items/0/id"}),
    ),
    "show_reviews": (_again("show_reviews"), *_REVIEW),
    "judge_reviews": (_read("show_reviews"), *_REVIEW),
    "vote_reviews": (_read("show_reviews"),),
    "show_inventory": (
        _again("show_inventory", **_STOCK),
        Link("adjust", "adjust_inventory", "Change it.", {**_STOCK, "If-Match": "$response.header.ETag"}),
    ),
    "adjust_inventory": (Link("show", "show_inventory", "Show it.", _STOCK),),
    "create_carts": (_read("show_carts"), _repeat("create_carts"), *_FILL),
    "show_carts": (_again("show_carts"), *_FILL, *_BUY),
    "change_carts": _CART,
    "add_line_carts": _CART,
    "set_line_carts": _CART,
    "remove_line_carts": (_read("show_carts"), *_FILL),
    "merge_carts": _CART,
    "create_orders": (_read("show_orders"), _repeat("create_orders"), *_ORDER),
    "index_orders": (
        Link("next", "index_orders", "The next page.", {"cursor": "$response.body#/next"}),
        Link("first", "show_orders", "Show the first one.", {"id": "$response.body#/items/0/id"}),
    ),
    "show_orders": (_again("show_orders"), *_ORDER),
    "cancel_orders": (_read("show_orders"), *_ORDER[1:]),
    "show_payments": (
        _again("show_payments"),
        Link("authenticate", "authenticate_payments", "Play the buyer's part at the sandbox gateway.", _ID),
        Link("order", "show_orders", "Show its order.", {"id": "$response.body#/order"}),
    ),
    "authenticate_payments": (
        _read("show_payments"),
        Link("order", "show_orders", "Show its order.", {"id": "$response.body#/order"}),
    ),
}
"""The ways on from each call's normal answer."""
