"""Where the web layer tells of each request that it answered."""

from collections.abc import Callable

import msgspec


class Access(msgspec.Struct, frozen=True):
    """A request that was answered.

    Attributes:
        request: its id.
        route: the path with the names of its parts, e.g. `/api/v1/carts/{id}`; never the query, which may tell about a
            person.
        ids: the parts of the path by name.
        principal: who asked; None where that was not found out.
    """

    request: str
    method: str
    route: str
    ids: dict[str, str]
    status: int
    milliseconds: float
    principal: str | None


AccessLog = Callable[[Access], None]
"""Takes a request that was answered; never raises, never waits."""
