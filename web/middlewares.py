"""What happens to every request: id, log line, measure and headers; refusals as problems; who asks; a deadline."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from ultramarket.errors import Rejection, Unavailable
from web.bodies import READING
from web.idempotency import REPLAYED
from web.measures import REQUEST_SECONDS
from web.operation import REQUEST_ID
from web.principal import PRINCIPAL, identify
from web.problems import KINDS, Refused, refuse, response
from web.services import SHOP

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
UPLOADS = web.AppKey("uploads", frozenset[str])
"""Routes with the deadline of an upload."""

_SECURITY = {
    "Server": "UltraMarket",  # not the versions of what it is made of
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ID = re.compile(r"[!-~]{1,128}")
_METHODS = frozenset(hdrs.METH_ALL)
_UNMATCHED = "unmatched"
_log = structlog.get_logger("web.access")
_errors = structlog.get_logger("web.errors")

_CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id; log and measure it; set the headers that every answer has."""
    started = time.perf_counter()
    request_id = request[REQUEST_ID] = given_id(request) or os.urandom(16).hex()
    answer = await handler(request)
    dress(answer, request_id)
    seconds = time.perf_counter() - started
    route = _route(request)
    method = request.method if request.method in _METHODS else "OTHER"
    request.app[REQUEST_SECONDS].count(method, route, answer.status, seconds)
    principal = request.get(PRINCIPAL)
    _log.info(
        "request",
        request=request_id,
        method=method,
        route=route,
        # Without the query: it may name an e-mail address.
        ids=dict(request.match_info),
        status=answer.status,
        milliseconds=round(seconds * 1000, 1),
        principal=principal.name if principal else None,
    )
    return answer


def given_id(request: web.BaseRequest) -> str | None:
    """The request id that the client sent, None where it sent none or one that can't be."""
    given = request.headers.get("X-Request-Id", "")
    return given if _ID.fullmatch(given) else None


def dress(answer: web.StreamResponse, request_id: str) -> None:
    """Set the headers that every answer has."""
    headers = answer.headers
    headers["X-Request-Id"] = request_id
    headers.update(_SECURITY)
    headers["Content-Security-Policy"] = answer.get(POLICY, API_POLICY)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals and failures into problem documents."""
    request_id = request[REQUEST_ID]
    try:
        return await handler(request)
    except Refused as refused:
        headers = {}
        if refused.replayed:
            headers[REPLAYED] = "true"
        if refused.rejection.code == "in_progress":
            headers["Retry-After"] = "1"
        if refused.rejection.status == web.HTTPUnauthorized.status_code:
            headers["WWW-Authenticate"] = 'Bearer realm="ultramarket"'
        return response(refused.rejection, request_id, headers)
    except Unavailable as error:
        rejection = Rejection(error.code, str(error), 503)
        return response(rejection, request_id, {"Retry-After": str(error.retry_after)})
    except web.HTTPException as error:
        return _http(request, error)
    except asyncio.CancelledError:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it is logged whole and told as `internal`
        _errors.exception("request failed", request=request_id, method=request.method, route=_route(request))
        return response(_of_kind("internal"), request_id)


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who asks."""
    request[PRINCIPAL] = identify(request.headers.getall("Authorization", []), request.app[SHOP].staff_key)
    return await handler(request)


@web.middleware
async def deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give an answer in time, even if it is that there is none.

    Raises:
        Refused: 408 `request_timeout`: the client did not send the body in time.
        Unavailable: 503 `deadline_exceeded`: we were too slow.
    """
    shop = request.app[SHOP]
    uploads = _route(request) in request.app[UPLOADS]
    try:
        async with asyncio.timeout(shop.upload_seconds if uploads else shop.request_seconds):
            return await handler(request)
    except TimeoutError as error:
        if request.get(READING):
            refuse("request_timeout")
        raise Unavailable("deadline_exceeded", KINDS["deadline_exceeded"].meaning) from error


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
