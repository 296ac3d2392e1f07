"""Pages of a list by keyset: a cursor says after which row the next page begins, so rows may come and go meanwhile."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

from ultramarket.domain.folding import storable

Item = TypeVar("Item")
Key = datetime | Decimal | str

LIMIT = 100
"""Items of a page at most."""
_CURSOR_LETTERS = 2000
_AMOUNT_DIGITS = 30


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Items in order, and the cursor of the next page, None on the last one."""

    items: tuple[Item, ...]
    next: str | None


class Conditions:
    """The `where` of a query in the making: fragments of our own, values only as parameters."""

    def __init__(self) -> None:
        self.args: list[Any] = []
        self._parts: list[str] = []

    def add(self, fragment: str, **values: object) -> None:
        """Add a condition; `{name}` in the fragment becomes the parameter of that name."""
        self._parts.append(fragment.format(**{name: self.parameter(value) for name, value in values.items()}))

    def parameter(self, value: object) -> str:
        """A new parameter, e.g. `$3`."""
        self.args.append(value)
        return f"${len(self.args)}"

    def sql(self) -> str:
        """All conditions, e.g. `true and c.status = $1`."""
        return " and ".join(["true", *self._parts])


def checked_limit(limit: int) -> int:
    """The limit.

    Raises:
        ValueError: it is not from 1 to `LIMIT`.
    """
    if not 1 <= limit <= LIMIT:
        raise ValueError(f"limit is {limit}; it goes from 1 to {LIMIT}.")
    return limit


def checked_amount(amount: Decimal, name: str) -> Decimal:
    """The amount.

    Raises:
        ValueError: it is no number, or one that no price comes near; the message names the filter.
    """
    if not amount.is_finite() or abs(amount.adjusted()) > _AMOUNT_DIGITS:
        raise ValueError(f"{name} is not an amount of money.")
    return amount


def list_mark(view: str, filters: msgspec.Struct) -> str:
    """What tells a list from others: a hash of its view, filters and order."""
    text = msgspec.json.encode((view, filters), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]


def write_cursor(mark: str, key: Key, id: str) -> str:
    """The cursor of the row with this key and id, in the list with this mark."""
    return urlsafe_b64encode(msgspec.json.encode((mark, key, id))).decode().rstrip("=")


def read_cursor(cursor: str, mark: str, key: type[Key]) -> tuple[Any, str]:
    """Key and id of the row after which the page begins.

    A cursor is not signed: it holds nothing but values of a row that its owner was shown, and they are only compared.

    Raises:
        ValueError: it is broken, or of another list.
    """
    try:
        found, value, id = _decoded(cursor, key)
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise ValueError("The cursor is broken: take it as `next` gave it, or begin without one.") from error
    if found != mark:
        raise ValueError("The cursor belongs to a list with other filters or in another order: begin without one.")
    return value, id


def _decoded(cursor: str, key: type[Key]) -> tuple[str, Key, str]:
    if len(cursor) > _CURSOR_LETTERS:
        raise ValueError("too long")
    raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    mark, value, id = msgspec.json.decode(raw, type=tuple[str, str, str])
    typed = msgspec.convert(value, key)
    if isinstance(typed, str):
        storable(typed, "cursor")
    elif isinstance(typed, Decimal):
        checked_amount(typed, "cursor")
    elif typed.tzinfo is None:
        raise ValueError("no time zone")
    else:
        typed = typed.astimezone(UTC)  # what has no such time in UTC, the database has not either
    return mark, typed, storable(id, "cursor")


def page_of(items: Sequence[Item], cursors: Sequence[str], limit: int) -> Page[Item]:
    """The page of up to `limit` items, given one more where there is one, with the cursor of each."""
    return Page(items=tuple(items[:limit]), next=cursors[limit - 1] if len(items) > limit else None)
