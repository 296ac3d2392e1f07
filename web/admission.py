"""Admission: as much work is let in as can be done in time; the rest is told at once to come back later.

By Little's law the time that a request takes is the number of requests that are worked on at once, divided by how many
are done in a second. So a bound of that number bounds the time, whatever is offered: docs/decisions/0010-overload.md.
"""

from collections.abc import Callable
from enum import IntEnum
from hashlib import blake2b
from time import monotonic

from aiohttp import hdrs, web

from ultramarket.errors import Unavailable

HOLD_SECONDS = 2.0
"""How long a request counts at most: one that takes longer waits for somebody else, e.g. a gateway that hangs."""
SPARE_CONNECTIONS = 50
"""Connections beyond the bound that may ask for health and metrics."""
TELL_SECONDS = 10.0
"""How often the log is told of refusals."""
REPEATS = 4096
"""Idempotency keys of the newest orders that are remembered."""
UNCOUNTED = -1
"""The ticket of health checks: they are always let in, and take nobody's room."""


class Kind(IntEnum):
    """What a request is for, the most important first."""

    OPERATION = 0
    """Health and metrics: never refused."""
    REPEAT = 1
    """An order or payment that was let in before, again."""
    CHECKOUT = 2
    """Orders, payments and webhooks."""
    CART = 3
    """Carts that exist, and the work of staff."""
    BROWSING = 4
    """Reads, pages and new carts."""


SHARES = {
    Kind.REPEAT: (1.5, 1.5),
    Kind.CHECKOUT: (1.0, 1.0),
    Kind.CART: (0.9, 0.75),
    Kind.BROWSING: (0.8, 0.45),
}
"""How full it may be, as a share of the limit, for a request of this kind to come in: while nobody is sent away, as
chance alone brings many at once and they are soon done; and where nearly everybody is, as the queue would stay."""
NEWEST = 500
"""Of about so many requests the share of those that were sent away counts."""

_CHECKOUT = ("/api/v1/orders/", "/api/v1/payments/", "/api/v1/webhooks/")
_OPERATION = ("/health/live", "/health/ready", "/metrics")
_READING = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)


def kind_of(method: str, path: str) -> Kind:
    """What a request is for, by its method and its path as it was sent."""
    if path.partition("?")[0] in _OPERATION:
        return Kind.OPERATION
    reading = method in _READING
    if path.startswith(_CHECKOUT) or (path == "/api/v1/orders" and not reading):
        return Kind.CHECKOUT
    if path.startswith("/api/v1/carts/") or (path != "/api/v1/carts" and not reading):
        return Kind.CART
    return Kind.BROWSING


class Admission:
    """Counts the requests that are worked on, and says which may come in.

    At least `limit` requests are let in each `HOLD_SECONDS`, however slow everything is.

    Args:
        limit: requests that may be worked on at once.
        connections: connections that may be open.
        clock: seconds of a monotonic clock.

    Attributes:
        limit: as given.
        connections: how many are open; counted by those who open and lose them.
        connections_refused: how many were too many since the start.
        refused: how many requests were sent away since the start, by kind.
    """

    def __init__(self, limit: int = 110, connections: int = 2000, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self.connections = 0
        self.connections_refused = 0
        self.refused = dict.fromkeys(Kind, 0)
        self._most_connections = connections
        self._clock = clock
        self._calm = {kind: max(1.0, limit * calm) for kind, (calm, _) in SHARES.items()}
        self._rush = {kind: max(1.0, limit * rush) for kind, (_, rush) in SHARES.items()}
        self._away = 0.0
        self._held: dict[int, float] = {}
        self._tickets = 0
        self._told = -TELL_SECONDS
        self._repeats: dict[bytes, None] = {}

    @property
    def in_flight(self) -> int:
        """Requests that count at the moment."""
        return len(self._held)

    def has_connection(self, *, spare: bool = False) -> bool:
        """Whether one more connection may be opened; `spare`: also one of those that are kept for health checks."""
        return self.connections < self._most_connections + (SPARE_CONNECTIONS if spare else 0)

    def enter(self, kind: Kind, key: str | None = None) -> int:
        """Let a request in, if there is room.

        Args:
            kind: what it is for.
            key: its idempotency key, if it is for the checkout.

        Returns:
            A ticket to `leave` with, `UNCOUNTED` for health checks; 0: there is no room for this kind.
        """
        if kind is Kind.OPERATION:
            return UNCOUNTED
        if key is not None and _short(key) in self._repeats:
            kind = Kind.REPEAT
        now = self._clock()
        calm, rush = self._calm[kind], self._rush[kind]
        room = calm - (calm - rush) * self._away
        if len(self._held) >= room:
            self._let_go(now - HOLD_SECONDS)
            if len(self._held) >= room:
                self._away += (1.0 - self._away) / NEWEST
                return 0
        self._away -= self._away / NEWEST
        self._tickets += 1
        self._held[self._tickets] = now
        return self._tickets

    def leave(self, ticket: int) -> None:
        """A request that was let in has been answered."""
        self._held.pop(ticket, None)

    def remember(self, key: str) -> None:
        """A request with this key was accepted: if its answer got lost, it will come again."""
        self._repeats[_short(key)] = None
        if len(self._repeats) > REPEATS:
            del self._repeats[next(iter(self._repeats))]

    def refuse(self, kind: Kind) -> bool:
        """Count a request that is sent away; True where the log is to be told, now and then."""
        self.refused[kind] += 1
        now = self._clock()
        due = now - self._told >= TELL_SECONDS
        if due:
            self._told = now
        return due

    def _let_go(self, before: float) -> None:
        """Count those no more that came in before that time."""
        while self._held:
            ticket, since = next(iter(self._held.items()))  # the oldest: they stand in the order in which they came
            if since > before:
                return
            del self._held[ticket]


class Place:
    """A request's place among those that are worked on. It is given up while the client has yet to send the body.

    Without that, whoever sends the heads of some requests and nothing more would shut out all others.
    """

    __slots__ = ("_admission", "_key", "_kind", "_ticket")

    def __init__(self, admission: Admission, kind: Kind, key: str | None, ticket: int) -> None:
        self._admission = admission
        self._kind = kind
        self._key = key
        self._ticket = ticket

    def leave(self) -> None:
        """Count no more."""
        self._admission.leave(self._ticket)

    def come_back(self) -> None:
        """Count again.

        Raises:
            Unavailable: there is no room any more.
        """
        self._ticket = self._admission.enter(self._kind, self._key)
        if not self._ticket:
            self._admission.refuse(self._kind)
            raise Unavailable("overloaded", "More is asked of the shop than it can do just now: try again.", 1)


PLACE = web.RequestKey("place", Place)


def _short(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).digest()
