"""A call of the API: its handler with what the OpenAPI document says of it, checked before the handler runs."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import web

from ultramarket.errors import Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.runtime.codec import text_fault
from web.answers import minimal
from web.bodies import BODY_HASH, Body
from web.idempotency import IN_FLIGHT, REPLAYED, WRITE, Write, begin, claim, keep_answer, kept_answer
from web.preferences import wants_minimal
from web.principal import PRINCIPAL
from web.problems import Refused, refuse
from web.queries import NOTHING, Query
from web.services import SHOP

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID = web.RequestKey("request_id", str)

_log = structlog.get_logger("web.idempotency")

MAX_ID_BYTES = 200
_UNREAD = frozenset({400, 408, 413, 415})
"""Statuses that come before the body is known, so that nothing can be said about a repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A call of the API.

    Attributes:
        handler: what answers it.
        summary: a line for the documentation.
        description: more for the documentation.
        body: the JSON body; None where there is none, or where `media` says otherwise.
        media: content type of a body that is not JSON.
        produces: content type of an answer that is a file.
        query: the query parameters.
        response: the Struct of the answer's body; None: no JSON body.
        status: status of the normal answer.
        also: further statuses of success, each with its meaning.
        elsewhere: what is answered where it is to be asked elsewhere: status, Struct and meaning.
        errors: codes of `web.problems.KINDS` that are this call's own.
        staff: whether it takes the staff key.
        writes: the kind of entity that it writes: it takes an Idempotency-Key then.
        own_scope: the handler narrows the key's scope and looks for repeats itself.
        conditional: it takes If-Match (writes) or If-None-Match (reads), and answers with an ETag.
        bulk: a write of many entities: its answer has a result for each, so it is never left out, and has no ETag.
        waits: it takes `Prefer: wait=`.
        consistent: it takes `Prefer: consistency=`.
        uploads: it has the deadline of an upload.
        signature: the header that signs the body.
    """

    handler: Handler
    summary: str
    description: str
    body: Body[Any] | None = None
    media: str | None = None
    produces: str | None = None
    query: Query[Any] = NOTHING
    response: Any = None
    status: int = 200
    also: tuple[tuple[int, str], ...] = ()
    elsewhere: tuple[int, Any, str] | None = None
    errors: tuple[str, ...] = ()
    staff: bool = False
    writes: str | None = None
    own_scope: bool = False
    conditional: bool = False
    bulk: bool = False
    waits: bool = False
    consistent: bool = False
    uploads: bool = False
    signature: str | None = None

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Check what every call has in common, then answer it.

        Raises:
            Refused: the request can't be had like this.
        """
        if self.staff and not request[PRINCIPAL].staff:
            refuse("credentials_required", "This call is for staff: send `Authorization: Bearer` with the staff key.")
        for value in request.match_info.values():
            if text_fault(value, MAX_ID_BYTES) is not None:
                refuse("not_found")
        if self.query is NOTHING and request.query_string:
            NOTHING.read(request)
        if self.writes is None:
            return await self.handler(request)
        answer = await self._write(request, self.writes)
        return minimal(answer) if not self.bulk and wants_minimal(request) else answer

    async def _write(self, request: web.Request, noun: str) -> web.Response:
        """The whole answer to a write, kept for repeats where it has a key."""
        handler = cast("Callable[[web.Request], Awaitable[web.Response]]", self.handler)  # no write answers with a file
        write = request[WRITE] = begin(request, request[PRINCIPAL].name)
        if self.own_scope or write.client_key is None:
            return await handler(request)
        return await repeatable(request, noun, write, functools.partial(handler, request))


def operation(**facts: Any) -> Callable[[Handler], Operation]:
    """Make a handler an operation; its docstring's first line is the summary, the rest the description."""

    def wrap(handler: Handler) -> Operation:
        summary, _, description = (handler.__doc__ or handler.__name__).partition("\n")
        return Operation(
            handler=handler, summary=summary.strip().rstrip("."), description=" ".join(description.split()), **facts
        )

    return wrap


async def repeatable(
    request: web.Request,
    noun: str,
    write: Write,
    work: Callable[[], Awaitable[web.Response]],
    *,
    look_first: bool = False,
) -> web.Response:
    """Do the work of a write once per idempotency key, and answer repeats with what was answered first.

    Args:
        request: the write.
        noun: kind of entity under which the answer is kept.
        write: its scope and key.
        work: does it; it notes in `write` when an actor gave a stored reply.
        look_first: look for the kept answer before the work, where another body would be another entity's work.

    Raises:
        Refused: what the work raises, 409 `in_progress` or 422 `idempotency_key_reused`.
    """
    key = write.key
    if key is None:
        return await work()
    in_flight = request.app[IN_FLIGHT]
    claim(in_flight, key)
    try:
        if look_first and (kept := await kept_answer(noun, request, write)):
            return kept
        try:
            response = await work()
        except Refused as refused:
            # The web layer may refuse now what the actor had granted then, e.g. a SKU that is gone meanwhile.
            looked_at = refused.rejection.status not in _UNREAD
            if looked_at and not refused.replayed and (kept := await kept_answer(noun, request, write)):
                return kept
            raise
        if write.replayed:
            kept = await kept_answer(noun, request, write)
            response = kept or response
            response.headers[REPLAYED] = "true"
            return response
        if write.unfinished:
            return response
        try:
            await keep_answer(noun, request, write, response)
        except Unavailable as error:
            # What was asked for is done; a repeat is told how it stands then.
            _log.warning("an answer could not be kept for repeats", request=request[REQUEST_ID], error=str(error))
        return response
    finally:
        in_flight.discard(key)


async def ask(request: web.Request, kind: str, id: str, command: Any, *, attempt: int = 0) -> Answer:
    """Send a command for this request: with its principal, idempotency key and trace.

    Args:
        request: a write.
        kind: the actor's noun.
        id: the entity.
        command: what it is told.
        attempt: counts further tries of one request; each keeps a reply of its own, so that a repeat goes the same way.

    Raises:
        Refused: the actor refused it.
        Unavailable: see `Actors.ask`.
    """
    shop, write, principal = request.app[SHOP], request[WRITE], request[PRINCIPAL]
    answer = await shop.actors.ask(
        kind,
        id,
        command,
        principal=principal.name,
        key=f"{write.key}:{attempt}" if write.key and attempt else write.key,
        body_hash=request.get(BODY_HASH, b""),
        trace=request[REQUEST_ID],
    )
    if answer.rejection is not None:
        occurrence = write.occurrence(request.get(BODY_HASH, b""))
        raise Refused(answer.rejection, replayed=answer.replayed, occurrence=occurrence)
    write.replayed = write.replayed or answer.replayed
    return answer
