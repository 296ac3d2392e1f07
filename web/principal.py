"""Who asks: guests, and staff by the staff key. Accounts come in here."""

import hmac
from dataclasses import dataclass

from aiohttp import web

from web.problems import refuse


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request.

    Attributes:
        name: `guest` or `staff`; it goes with every command and scopes idempotency keys.
    """

    name: str

    @property
    def staff(self) -> bool:
        """Whether staff calls are allowed."""
        return self.name == "staff"


GUEST = Principal("guest")
STAFF = Principal("staff")
PRINCIPAL = web.RequestKey("principal", Principal)


def identify(authorization: list[str], staff_key: str) -> Principal:
    """The principal of a request's Authorization headers; a guest where there is none.

    Raises:
        Refused: 401 `invalid_credentials`: a wrong key, another scheme, or more than one header.
    """
    if not authorization:
        return GUEST
    scheme, _, key = authorization[0].partition(" ")
    # surrogateescape: aiohttp decodes raw header bytes so, and any of them may come.
    given = key.strip().encode("utf-8", "surrogateescape")
    valid = hmac.compare_digest(given, staff_key.encode())
    if len(authorization) > 1 or scheme.lower() != "bearer" or not valid:
        refuse("invalid_credentials", "The key is not valid: send `Authorization: Bearer` with the shop's staff key.")
    return STAFF
