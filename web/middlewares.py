"""What happens to every request: id, log line, measure and headers; refusals as problems; who asks; a deadline."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import structlog
from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage

from ultramarket.errors import Rejection, Unavailable
from ultramarket.ports.access_log import Access
from ultramarket.runtime.codec import text_fault
from ultramarket.runtime.deadlines import Deadlines
from web.bodies import READING
from web.delivery import deliver
from web.idempotency import REPLAYED
from web.measures import RequestSeconds
from web.operation import REQUEST_ID
from web.principal import GUEST, PRINCIPAL, identify
from web.problems import KINDS, Refused, response
from web.services import Shop

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' https: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Swagger UI sets styles on elements and draws its icons from data URLs; its scripts and calls stay with this server.
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICY = web.ResponseKey("policy", str)

_SECURITY = {
    "Server": "UltraMarket",  # not the versions of what it is made of
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LONGEST_PATH = 4_000
"""Bytes of a path that a redirect may begin at."""
ADDRESS = "/%?#[]@!$&'()*+,;=:~"
"""What stands for itself in an address, besides letters and digits (RFC 3986)."""
_chance = random.Random()  # noqa: S311 - request ids need not be unguessable
_ID = re.compile(r"[!-~]{1,128}")
_METHODS = frozenset(hdrs.METH_ALL)
_UNMATCHED = "unmatched"
_errors = structlog.get_logger("web.errors")

_CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


class Frame:
    """What happens around every request; one coroutine, because each one more costs every request.

    Args:
        shop: the services.
        measures: counts the requests.
        uploads: routes with the deadline of an upload.
        lasting: routes of connections that last; they have no deadline, and their time is none of an answer.
    """

    def __init__(
        self, shop: Shop, measures: RequestSeconds, uploads: frozenset[str], lasting: frozenset[str] = frozenset()
    ) -> None:
        self._shop = shop
        self._measures = measures
        self._uploads = uploads
        self._lasting = lasting
        self._deadlines: Deadlines[_Running] = Deadlines(_Running.expire)

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give the request an id and an answer in time; turn refusals into problems; log and measure it."""
        started = time.perf_counter()
        request_id = request[REQUEST_ID] = given_id(request) or new_request_id()
        route = _route(request)
        seconds = self._shop.upload_seconds if route in self._uploads else self._shop.request_seconds
        running = _Running()
        if route not in self._lasting:
            self._deadlines.add(running, seconds)
        try:
            authorization = request.headers.getall("Authorization", ())
            request[PRINCIPAL] = identify(authorization, self._shop.staff_key) if authorization else GUEST
            answer = await (self._elsewhere(request, handler) if route == _UNMATCHED else handler(request))
        except asyncio.CancelledError:
            if not running.was_late():
                raise
            answer = _too_late(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as a problem
            answer = _problem(request, error)
        finally:
            self._deadlines.remove(running, seconds)
        asked = request.headers
        if hdrs.ACCEPT_ENCODING in asked or hdrs.IF_NONE_MATCH in asked or hdrs.ORIGIN in asked:
            answer = await deliver(request, answer, self._shop.allowed_origins)
        dress(answer, request_id)
        self._tell(request, route, answer.status, time.perf_counter() - started)
        return answer

    async def _elsewhere(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Where nothing is at an address, a redirect of the staff's may lead on."""
        try:
            return await handler(request)
        except web.HTTPNotFound:
            path = request.path
            if request.method not in ("GET", "HEAD") or text_fault(path, LONGEST_PATH) is not None:
                raise
            target = await self._shop.redirects.target(path)
            if target is None:
                raise
            return web.Response(
                status=308, headers={"Location": quote(target, safe=ADDRESS), "Cache-Control": "no-cache"}
            )

    def _tell(self, request: web.Request, route: str, status: int, seconds: float) -> None:
        method = request.method if request.method in _METHODS else "OTHER"
        if route not in self._lasting:
            self._measures.count(method, route, status, seconds)
        principal = request.get(PRINCIPAL)
        who = principal.name if principal else None
        ids = {**request.match_info}
        self._shop.log_access(Access(request[REQUEST_ID], method, route, ids, status, round(seconds * 1000, 1), who))


class _Running:
    """A request that is being answered by this task."""

    __slots__ = ("_cancelling", "_late", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has a task
        self._task = task
        self._cancelling = task.cancelling()
        self._late = False

    def expire(self) -> None:
        """The time is over: cancel what the task waits for."""
        self._late = True
        self._task.cancel()

    def was_late(self) -> bool:
        """Whether a cancellation was ours alone; it is taken back then."""
        return self._late and self._task.uncancel() <= self._cancelling


def new_request_id() -> str:
    """An id for a request whose client gave it none."""
    return f"{_chance.getrandbits(128):032x}"


def given_id(request: web.BaseRequest | RawRequestMessage) -> str | None:
    """The request id that the client sent, None where it sent none or one that can't be."""
    given = request.headers.get("X-Request-Id", "")
    return given if _ID.fullmatch(given) else None


def dress(answer: web.StreamResponse, request_id: str) -> None:
    """Set the headers that every answer has."""
    headers = answer.headers
    headers["X-Request-Id"] = request_id
    headers.update(_SECURITY)
    headers["Content-Security-Policy"] = answer.get(POLICY, API_POLICY)


def _problem(request: web.Request, error: Exception) -> web.StreamResponse:
    """The problem document for what a handler raised."""
    request_id = request[REQUEST_ID]
    if isinstance(error, Refused):
        headers = {}
        if error.replayed:
            headers[REPLAYED] = "true"
        if error.rejection.code == "in_progress":
            headers["Retry-After"] = "1"
        if error.rejection.status == web.HTTPUnauthorized.status_code:
            headers["WWW-Authenticate"] = 'Bearer realm="ultramarket"'
        return response(error.rejection, error.occurrence or request_id, headers)
    if isinstance(error, Unavailable):
        rejection = Rejection(error.code, str(error), 503)
        return response(rejection, request_id, {"Retry-After": str(error.retry_after)})
    if isinstance(error, web.HTTPException):
        return _http(request, error)
    _errors.error("request failed", request=request_id, method=request.method, route=_route(request), exc_info=True)
    return response(_of_kind("internal"), request_id)


def _too_late(request: web.Request) -> web.StreamResponse:
    """The client did not send the body in time, or we were too slow."""
    if request.get(READING):
        return response(_of_kind("request_timeout"), request[REQUEST_ID])
    return response(_of_kind("deadline_exceeded"), request[REQUEST_ID], {"Retry-After": "1"})


def _http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """The answer for what aiohttp itself says: redirects as they are, errors as problems."""
    if isinstance(error, web.HTTPForbidden):  # a folder of static files: there is nothing to see
        error = web.HTTPNotFound()
    if error.status < web.HTTPBadRequest.status_code:
        return web.Response(status=error.status, headers={"Location": error.headers.get("Location", "/")})
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=headers)
    rejection = _of_kind(_CODE_OF_STATUS.get(error.status, "bad_request"))
    return response(Rejection(rejection.code, rejection.detail, error.status), request[REQUEST_ID], headers)


def _of_kind(code: str) -> Rejection:
    kind = KINDS[code]
    return Rejection(code, kind.meaning, kind.status)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else _UNMATCHED
