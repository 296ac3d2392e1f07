"""Lets requests in as far as there is room, and sends the others away before anything else is done for them.

At several times the load that can be carried most requests are refused, so a refusal must cost next to nothing: no
task, no routing, no answer object, only bytes that were put together before. Where that can't be done, because a body
is still on its way or another answer comes first, the middleware refuses, which costs several times as much.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aioprometheus.collectors import Counter, Gauge, Registry

from ultramarket.errors import Rejection
from web.admission import PLACE, Admission, Kind, Place, kind_of
from web.idempotency import IDEMPOTENCY_KEY, MAX_KEY
from web.middlewares import dress, given_id, new_request_id
from web.problems import KINDS, response

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ADMISSION = web.AppKey("admission", Admission)

LINGER_SECONDS = 1.0
"""How long a connection that is one too many may take to read its answer."""
_OPERATION = (b"GET /health/", b"GET /metrics")
RETRY_SECONDS = 1
"""When those who are sent away should come back."""

_log = structlog.get_logger("web.admission")


def install(app: web.Application, admission: Admission, metrics: Registry) -> None:
    """Admit the requests of an application whose middlewares are there already."""
    app[ADMISSION] = admission
    app.middlewares.insert(0, admit)
    _Refused(admission, metrics)
    for name, doc, read in (
        ("http_in_flight", "Requests that are worked on.", lambda: admission.in_flight),
        ("http_limit", "Requests that may be worked on at once.", lambda: admission.limit),
        ("http_connections", "Connections that are open.", lambda: admission.connections),
        ("http_connections_refused", "Connections refused since the start.", lambda: admission.connections_refused),
    ):
        _Figure(name, doc, metrics, read)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request in, or answer it with 503 `overloaded` before anything else is done for it."""
    admission, kind = request.app[ADMISSION], kind_of(request.method, request.path)
    protocol = request.protocol
    ticket = protocol.take_ticket() if isinstance(protocol, Turnstile) else 0
    key = _key(request) if kind is Kind.CHECKOUT else None
    ticket = ticket or admission.enter(kind, key)
    if not ticket:
        _count(admission, kind)
        return refusal(given_id(request) or new_request_id())
    place = request[PLACE] = Place(admission, kind, key, ticket)
    try:
        answer = await handler(request)
    finally:
        place.leave()
    if key is not None and answer.status < web.HTTPBadRequest.status_code:
        admission.remember(key)
    return answer


class Turnstile(web.RequestHandler):
    """A connection that asks the admission as soon as the head of a request is parsed."""

    __slots__ = ("_admission", "_ticket")

    def __init__(self, manager: web.Server, *, admission: Admission, **options: Any) -> None:
        super().__init__(manager, **options)
        self._admission = admission
        self._ticket = 0
        # A cycle that does not last: aiohttp lets go of the parser when the connection ends.
        self._parser: Any = _Sieve(self._parser, self._turns_away)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self._admission.connections += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more, nor the request that nobody has begun to work on."""
        self._admission.connections -= 1
        self._admission.leave(self.take_ticket())
        super().connection_lost(exc)

    def take_ticket(self) -> int:
        """The ticket of the request that comes next, if it was let in already; once."""
        ticket, self._ticket = self._ticket, 0
        return ticket

    def _turns_away(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Let the request in or send it away; False where the application is to go on with it."""
        waits = self._waiter is not None and not self._waiter.done() and not self._messages
        if not waits or self._paused or self._reading_paused or self._close or self._force_close:
            return False
        kind = kind_of(message.method, message.path)
        key = _key(message) if kind is Kind.CHECKOUT else None
        self._ticket = self._admission.enter(kind, key)
        plain = payload.is_eof() and not message.should_close and message.method != hdrs.METH_HEAD
        if self._ticket or not plain or self.transport is None:
            return False
        _count(self._admission, kind)
        self.transport.write(answer_bytes(given_id(message) or new_request_id()))
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True


class _Sieve:
    """Stands between the parser of a connection and its queue of requests; all else it leaves to the parser."""

    __slots__ = ("_parser", "_turns_away")

    def __init__(self, parser: Any, turns_away: Callable[[Any, Any], bool]) -> None:
        self._parser = parser
        self._turns_away = turns_away

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        """Parse; gives the requests that are to be queued, as the parser itself would."""
        messages, upgraded, tail = self._parser.feed_data(data)
        if len(messages) == 1 and not upgraded and self._turns_away(*messages[0]):
            self._parser.message_consumed()
            messages = ()
        return messages, upgraded, tail


class OneTooMany(asyncio.Protocol):
    """A connection beyond the bound: what it asks is not answered, unless it is for health or metrics.

    Args:
        admission: counts it.
        connection: makes a connection as there are within the bound.
    """

    def __init__(self, admission: Admission, connection: Callable[[], asyncio.Protocol]) -> None:
        self._admission = admission
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait a moment for what is asked."""
        self._transport = cast("asyncio.Transport", transport)
        self._end = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer; closing at once would reset the connection, and the answer would be lost."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        if data.startswith(_OPERATION) and self._admission.has_connection(spare=True):
            self.connection_lost(None)
            connection = self._connection()
            connection.connection_made(transport)
            transport.set_protocol(connection)
            connection.data_received(data)
            return
        self._admission.connections_refused += 1
        transport.write(answer_bytes(new_request_id(), close=True))
        transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended is all the same
        """It is over, or another's."""
        self._end.cancel()


def _key(request: web.Request | RawRequestMessage) -> str | None:
    """The idempotency key of a request that changes something."""
    key = request.headers.get(IDEMPOTENCY_KEY) if request.method == hdrs.METH_POST else None
    return key if key is not None and len(key) <= MAX_KEY else None


def refusal(request_id: str) -> web.Response:
    """The answer to a request that is sent away."""
    meaning = KINDS["overloaded"]
    rejection = Rejection("overloaded", meaning.meaning, meaning.status)
    answer = response(rejection, request_id, {"Retry-After": str(RETRY_SECONDS)})
    dress(answer, request_id)
    return answer


def answer_bytes(request_id: str, *, close: bool = False) -> bytes:
    """The same answer as it goes over the wire."""
    id = request_id.encode("ascii")
    body = _BODY % id
    return (_LAST_HEAD if close else _HEAD) % (len(body), id) + body


def _template() -> tuple[bytes, bytes]:
    """Head and body of the answer, with places for the length and the request's id."""
    mark = "the-id-of-the-request"
    answer = refusal(mark)
    answer.headers.popall("X-Request-Id")
    headers = (f"{name}: {value}" for name, value in answer.headers.items())
    head = "\r\n".join((f"HTTP/1.1 {answer.status} {answer.reason}", *headers)).replace("%", "%%").encode("ascii")
    assert isinstance(answer.body, bytes)  # noqa: S101 - a problem document is bytes
    body = answer.body.replace(b"%", b"%%").replace(mark.encode("ascii"), b"%b")
    return head + b"\r\nContent-Length: %d\r\nX-Request-Id: %b\r\n", body


_FIRST, _BODY = _template()
_HEAD = _FIRST + b"\r\n"
_LAST_HEAD = _FIRST + b"Connection: close\r\n\r\n"


def _count(admission: Admission, kind: Kind) -> None:
    """Count a refusal: it has no line in the log of its own."""
    if admission.refuse(kind):
        _log.warning(
            "overloaded: requests are sent away", refused=sum(admission.refused.values()), limit=admission.limit
        )


class _Refused(Counter):
    """How many requests were sent away, by what they were for; read when it is scraped."""

    def __init__(self, admission: Admission, registry: Registry) -> None:
        super().__init__("ultramarket_http_refused_total", "Requests answered with `overloaded`.", registry=registry)
        self._admission = admission

    def get_all(self) -> list[tuple[dict[str, str], Any]]:
        return [({"kind": kind.name.lower()}, count) for kind, count in self._admission.refused.items()]


class _Figure(Gauge):
    """A figure of the admission, read when it is scraped."""

    def __init__(self, name: str, doc: str, registry: Registry, read: Callable[[], float]) -> None:
        super().__init__(f"ultramarket_{name}", doc, registry=registry)
        self._read = read

    def get_all(self) -> list[tuple[dict[str, str], Any]]:
        return [({}, self._read())]
