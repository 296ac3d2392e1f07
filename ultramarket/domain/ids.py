"""Ids that nobody can guess and that stand in the order of time, as those of UUIDv7 do (RFC 9562, section 5.7).

What is made at one time stands side by side in every index then: a few pages take all that is new. With random ids
each new row dirties pages of its own, and after a checkpoint each of them goes into the WAL whole.
"""

import hashlib
import re
import secrets
import time

_TIME_DIGITS = 12
"""Hexadecimal digits of the milliseconds since 1970, enough until the year 10889."""
_RANDOM_BYTES = 14
_TIME = re.compile(rf"[0-9a-f]{{{_TIME_DIGITS}}}")


def new_id() -> str:
    """A new id: 40 hexadecimal digits, the time and then 112 random bits."""
    return f"{time.time_ns() // 1_000_000:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


def order_id(cart: str, version: int) -> str:
    """The id of the order of a version of a cart, always the same: asked for twice, it is one order."""
    return _beside(cart, f"order:{version}")


def payment_id(order: str) -> str:
    """The id of the payment of an order, always the same."""
    return _beside(order, "payment")


def _beside(id: str, name: str) -> str:
    """An id that follows from another one, and stands beside it where that begins with its time."""
    digest = hashlib.sha256(f"ultramarket:{name}:{id}".encode()).hexdigest()
    begin = id[:_TIME_DIGITS] if _TIME.match(id) else digest[-_TIME_DIGITS:]
    return begin + digest[: 2 * _RANDOM_BYTES]
