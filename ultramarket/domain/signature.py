"""Signatures of webhooks: HMAC-SHA256 (RFC 2104) over the time and the raw body, so that neither can be changed."""

import hmac
import re
from hashlib import sha256

TOLERANCE_SECONDS = 300
"""How far a signature's time may be from now; an older one may be a replay."""

_HEADER = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def sign(body: bytes, secret: bytes, timestamp: int) -> str:
    """Return the signature header of a body, `t=<timestamp>,v1=<hex digest>`.

    Args:
        body: the raw body as it goes over the wire.
        secret: shared with the receiver.
        timestamp: when it is sent, in seconds since 1970 (UTC).
    """
    digest = hmac.new(secret, f"{timestamp}.".encode() + body, sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def verify(body: bytes, secret: bytes, header: str, now: int, tolerance: int = TOLERANCE_SECONDS) -> bool:
    """Whether the header was made by `sign` for this very body with this secret, at most `tolerance` seconds from now.

    Args:
        body: the raw body as it was received.
        secret: shared with the sender.
        header: what the sender sent as signature; anything that is none is simply not valid.
        now: seconds since 1970 (UTC).
        tolerance: seconds before or after `now`.
    """
    found = _HEADER.fullmatch(header)
    if found is None or abs(now - int(found[1])) > tolerance:
        return False
    return hmac.compare_digest(sign(body, secret, int(found[1])), header)
