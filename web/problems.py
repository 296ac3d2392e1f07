"""Problem documents (RFC 9457): the stable codes that clients may rely on, and how a refusal becomes an answer."""

from dataclasses import dataclass
from typing import NoReturn

import msgspec
from aiohttp import web

from ultramarket.errors import Fault, Rejection

MEDIA_TYPE = "application/problem+json"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means.

    Attributes:
        status: HTTP status it usually comes with.
        meaning: what happened and what to do, for the page of the code.
    """

    status: int
    title: str
    meaning: str


KINDS: dict[str, Kind] = {
    "malformed_json": Kind(400, "Malformed JSON", "The body is not JSON. Send one JSON object in UTF-8."),
    "malformed_body": Kind(
        400, "Malformed body", "The body could not be read: it ended early or its encoding is broken."
    ),
    "not_utf8": Kind(400, "Not UTF-8", "The body is not UTF-8 text."),
    "malformed_header": Kind(400, "Malformed header", "A header does not have the form that its standard gives it."),
    "malformed_cursor": Kind(400, "Malformed cursor", "Send `cursor` exactly as the list before gave it in `next`."),
    "malformed_token": Kind(
        400, "Malformed consistency token", "Send the token exactly as a write gave it in `X-Consistency`."
    ),
    "invalid_signature": Kind(
        400, "Invalid signature", "The signature is missing, is too old, or is not one of this very body."
    ),
    "bad_request": Kind(400, "Bad request", "The request could not be understood."),
    "credentials_required": Kind(401, "Credentials required", "Send `Authorization: Bearer` with the staff key."),
    "invalid_credentials": Kind(401, "Invalid credentials", "The key is not a valid one."),
    "forbidden": Kind(403, "Forbidden", "These credentials don't allow this."),
    "origin_not_allowed": Kind(
        403, "Origin not allowed", "Pages of this origin may not connect: the setting `allowed_origins` names those."
    ),
    "not_found": Kind(404, "Not found", "There is nothing at this address."),
    "line_not_found": Kind(404, "Line not found", "The cart has no line with this id or SKU."),
    "method_not_allowed": Kind(
        405, "Method not allowed", "The resource does not take this method; `Allow` names those it takes."
    ),
    "request_timeout": Kind(
        408, "Request timeout", "The body did not arrive in time: send the request again, with its key."
    ),
    "in_progress": Kind(
        409, "In progress", "The first request with this idempotency key still runs: repeat it a little later."
    ),
    "taken": Kind(409, "Taken", "A value that must be unique, such as a handle or a SKU, belongs to something else."),
    "cart_exists": Kind(409, "Cart exists", "There is a cart with this id already."),
    "cart_changed": Kind(
        409, "Cart changed", "The cart is not as it was in this version: read it again and show it to the buyer."
    ),
    "cart_frozen": Kind(
        409, "Cart frozen", "An order is being made of the cart; `order` names it. Cancelling the order opens the cart."
    ),
    "product_exists": Kind(409, "Product exists", "There is a product with this id already: change it instead."),
    "category_exists": Kind(409, "Category exists", "There is a category with this id already: change it instead."),
    "category_not_empty": Kind(
        409, "Category not empty", "There are categories below it: move them, or put them in its place (`children=up`)."
    ),
    "category_cycle": Kind(409, "Category cycle", "A category can't be moved into itself or into one below it."),
    "collection_exists": Kind(
        409, "Collection exists", "There is a collection with this id already: change it instead."
    ),
    "review_exists": Kind(409, "Review exists", "There is a review with this id already."),
    "order_not_cancellable": Kind(409, "Order not cancellable", "The order has ended: there is nothing to cancel."),
    "no_action_needed": Kind(409, "No action needed", "The payment does not wait for the buyer."),
    "negative_stock": Kind(409, "Negative stock", "There is less on hand than is to be taken away."),
    "version_mismatch": Kind(
        412, "Version mismatch", "The entity has changed since it was read: read it again, then decide."
    ),
    "body_too_large": Kind(413, "Body too large", "The body is larger than this call takes."),
    "unsupported_media_type": Kind(
        415, "Unsupported media type", "Send the body in the content type that the call takes."
    ),
    "invalid": Kind(
        422, "Invalid request", "The request is well formed, but values in it are not; `errors` says which."
    ),
    "invalid_parameter": Kind(422, "Invalid parameter", "A query parameter has a value that it can't have."),
    "unknown_parameter": Kind(422, "Unknown parameter", "The call has no query parameter of this name."),
    "invalid_text": Kind(422, "Invalid text", "Texts must not hold NUL or lone surrogates."),
    "idempotency_key_reused": Kind(
        422, "Idempotency key reused", "The same key came with another body before: use a new key for a new request."
    ),
    "idempotency_key_weak": Kind(
        422, "Idempotency key too short", "The key of a guest's cart must have at least 22 characters, or be left out."
    ),
    "sku_not_found": Kind(422, "SKU not found", "No published product has this SKU."),
    "price_missing": Kind(422, "Price missing", "The SKU has no price in the cart's currency."),
    "currency_unknown": Kind(422, "Currency unknown", "Use an active ISO 4217 code such as EUR."),
    "channel_unknown": Kind(422, "Channel unknown", "The shop has no channel of this name."),
    "shipping_method_unknown": Kind(422, "Shipping method unknown", "The shop has no shipping method of this code."),
    "coupon_unknown": Kind(422, "Coupon unknown", "The shop has no coupon of this code."),
    "gateway_unknown": Kind(422, "Gateway unknown", "The shop has no payment gateway of this name."),
    "same_cart": Kind(422, "Same cart", "A cart can't be merged into itself."),
    "bad_id": Kind(422, "Bad id", "An id or a key in the request can't be stored: it is too long or holds NUL."),
    "too_large_or_bad_text": Kind(
        422, "Too large", "The entity would grow beyond its size, or a text can't be stored."
    ),
    "not_storable": Kind(422, "Not storable", "The store can't keep this: check its texts and sizes."),
    "currency_mismatch": Kind(422, "Currency mismatch", "The cart and the price are in different currencies."),
    "too_many_categories": Kind(422, "Too many categories", "The shop holds no more categories."),
    "tree_too_deep": Kind(422, "Tree too deep", "The category would stand on a level that the tree does not have."),
    "quantity_limit": Kind(422, "Quantity limit", "A line of a cart holds no more pieces."),
    "too_many_lines": Kind(422, "Too many lines", "The cart holds no more lines."),
    "upgrade_required": Kind(
        426, "Upgrade required", "This address speaks WebSocket: connect to it with ws:// or wss://."
    ),
    "internal": Kind(500, "Internal error", "Something went wrong on our side; the request id finds it in our logs."),
    "view_behind": Kind(503, "View behind", "The list does not show that write yet: try again in a moment."),
    "deadline_exceeded": Kind(
        503,
        "Deadline exceeded",
        "The request took too long; nothing is known to have happened. Repeat it with its key.",
    ),
    "deadline_passed": Kind(503, "Deadline passed", "The command waited too long; repeat it with its key."),
    "mailbox_full": Kind(503, "Too busy", "More is asked of this part of the shop than it can take: try again."),
    "overloaded": Kind(
        503, "Overloaded", "More is asked of the shop than it can do just now: try again after `Retry-After` seconds."
    ),
    "not_ready": Kind(503, "Not ready", "This part of the shop is starting up: try again."),
    "newer_version": Kind(503, "Newer version", "A newer version of the shop is taking over: try again."),
    "shutting_down": Kind(503, "Shutting down", "This process is stopping: try again."),
    "outcome_unknown": Kind(
        503, "Outcome unknown", "The store did not say whether it kept this: repeat it with its key."
    ),
    "database_unavailable": Kind(503, "Store unavailable", "The database can't be reached: try again."),
    "unavailable": Kind(503, "Unavailable", "The platform can't do this now: try again a little later."),
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457). Further members may stand beside these, e.g. `order` on `cart_frozen`.

    Attributes:
        type: address of a page about the code.
        code: stable, for programs.
        detail: what to do, for people.
        instance: the request by its id; where repeats with a key are told the same, what they have in common.
        errors: the parts of the request that are at fault.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: tuple[Fault, ...] = ()


class Refused(Exception):
    """Ends the handling of a request with a problem document.

    Attributes:
        rejection: why.
        replayed: this is the answer to an earlier request again.
        occurrence: the document's `instance` where repeats are told the same; None: the request's id.
    """

    def __init__(self, rejection: Rejection, *, replayed: bool = False, occurrence: str | None = None) -> None:
        super().__init__(rejection.code)
        self.rejection = rejection
        self.replayed = replayed
        self.occurrence = occurrence


def refuse(code: str, detail: str = "", *, pointer: str | None = None, **extra: str) -> NoReturn:
    """End the request with the problem of this code.

    Args:
        code: one of `KINDS`; gives the status.
        detail: a sentence that says what to do; the code's meaning when empty.
        pointer: JSON pointer to the part of the body at fault.
        extra: further members of the document.

    Raises:
        Refused: always.
    """
    kind = KINDS[code]
    detail = detail or kind.meaning
    errors = (Fault(pointer, detail),) if pointer is not None else ()
    raise Refused(Rejection(code, detail, kind.status, errors, extra))


def title_of(code: str) -> str:
    """The title of a code; codes that only actors know are spelt out."""
    kind = KINDS.get(code)
    return kind.title if kind else code.replace("_", " ").capitalize()


def problem_of(rejection: Rejection, occurrence: str) -> Problem:
    """The document that tells a refusal; `occurrence` is the request's id, or what its repeats have in common."""
    return Problem(
        type=f"/problems/{rejection.code.replace('_', '-')}",
        title=title_of(rejection.code),
        status=rejection.status,
        code=rejection.code,
        detail=rejection.detail,
        instance=f"urn:request:{occurrence}",
        errors=rejection.errors,
    )


def response(rejection: Rejection, occurrence: str, headers: dict[str, str] | None = None) -> web.Response:
    """The answer that tells a refusal; `occurrence` is the request's id, or what its repeats have in common."""
    document = msgspec.to_builtins(problem_of(rejection, occurrence))
    return web.Response(
        body=_encode({**rejection.extra, **document}),
        status=rejection.status,
        content_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
