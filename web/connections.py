"""Connections as the application needs them: what never gets as far as a handler is answered as a problem too."""

import asyncio
import functools
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from ultramarket.errors import Rejection
from web.middlewares import dress, given_id, new_request_id
from web.problems import KINDS, response
from web.turnstile import ADMISSION, OneTooMany, Turnstile

_log = structlog.get_logger("web.access")
# The application writes its own access log, without what a query may tell about a person.
# Idle connections are let go after 75 s, a little more than proxies in front keep theirs.
_OPTIONS: dict[str, Any] = {"access_log": None, "keepalive_timeout": 75.0}


class Connection(Turnstile):
    """A connection that answers what it can't read with a problem document, and keeps it out of the log.

    aiohttp would answer in plain text, name itself, and log the bytes at fault as an error: they may be anybody's
    address or key.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes that are no request; `message` quotes them and is not told.

        Raises:
            ConnectionError: part of another answer is sent already.
        """
        if status != web.HTTPBadRequest.status_code or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        detail = KINDS["bad_request"].meaning
        if isinstance(exc, LineTooLong):
            detail = f"The request line or a header is longer than {self.max_line_size} bytes."
        return _problem(request, Rejection("bad_request", detail, status), exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; an expectation that can't be met is refused before any middleware sees the request."""
        if isinstance(resp, web.HTTPExpectationFailed):
            detail = "The only expectation that can be met is `100-continue`."
            resp = _problem(request, Rejection("bad_request", detail, resp.status), resp)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong here; a body that can't be unpacked is the client's fault and answered already."""
        if not isinstance(kw.get("exc_info"), HttpProcessingError | web.RequestPayloadError):
            super().log_exception(*args, **kw)


class Runner(web.AppRunner):
    """Runs an application with such connections."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)

    @property
    def server(self) -> Any:
        """What makes a connection of each one that is accepted; None until it is set up."""
        manager = super().server
        if manager is None:
            return None
        admission = self.app[ADMISSION]
        loop = asyncio.get_running_loop()
        connection = functools.partial(Connection, manager, admission=admission, loop=loop, **_OPTIONS)
        return lambda: connection() if admission.has_connection() else OneTooMany(admission, connection)


def _problem(request: web.BaseRequest, rejection: Rejection, exc: BaseException | None) -> web.Response:
    request_id = given_id(request) or new_request_id()
    answer = response(rejection, request_id)
    answer.force_close()
    dress(answer, request_id)
    _log.info("request refused", request=request_id, status=rejection.status, reason=type(exc).__name__)
    return answer
