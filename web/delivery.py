"""What is done with a finished answer as the request's headers ask: 304, content coding, and CORS."""

from aiohttp import hdrs, web

from web import codings
from web.preferences import matching_tag

CORS_SECONDS = 600
"""How long a browser may remember a preflight."""
_SENT = "Accept-Language, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Request-Id"
_SHOWN = (
    "Allow, ETag, Idempotency-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, "
    "X-Consistency, X-Request-Id"
)


async def deliver(request: web.Request, answer: web.StreamResponse, origins: frozenset[str]) -> web.StreamResponse:
    """The answer as it is sent; one that has begun to be sent stays as it is.

    Args:
        request: has Accept-Encoding, If-None-Match or Origin.
        answer: to a request that was answered.
        origins: those whose pages may read it, besides this host's own.
    """
    if answer.prepared:
        return answer
    if "If-None-Match" in request.headers and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        answer = _unless_known(request, answer)
    if isinstance(answer, web.Response):
        await codings.pack(answer, codings.wanted(request))
    if (origin := request.headers.get("Origin")) and origin in origins:
        _let_read(request, answer, origin)
    return answer


def _unless_known(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """304 in place of what the client has already, with the tag by which it knows it."""
    tag = answer.headers.get("ETag")
    if tag is None or answer.status not in (200, 304):
        return answer
    known = matching_tag(request, tag)
    if known is None:
        return answer
    if answer.status == 200:  # noqa: PLR2004 - the status as such
        kept = ("Cache-Control", "Vary", "Surrogate-Key", "Cache-Tag")
        answer = web.Response(
            status=304, headers={name: answer.headers[name] for name in kept if name in answer.headers}
        )
    answer.headers["ETag"] = known
    return answer


def _let_read(request: web.Request, answer: web.StreamResponse, origin: str) -> None:
    """Let a page of another origin read the answer, and ask with the methods and headers that the API has."""
    headers = answer.headers
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = _SHOWN
    vary = headers.get("Vary")
    if vary is None or "Origin" not in vary:
        headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
    if request.method == hdrs.METH_OPTIONS and "Access-Control-Request-Method" in request.headers:
        headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
        headers["Access-Control-Allow-Headers"] = _SENT
        headers["Access-Control-Max-Age"] = str(CORS_SECONDS)
