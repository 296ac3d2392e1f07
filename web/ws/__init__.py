"""Live updates: `GET /api/v1/ws`, a WebSocket that tells of carts, orders and stock as they change."""

from collections.abc import Iterable

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from web.admission import PLACE
from web.middlewares import dress
from web.operation import REQUEST_ID
from web.principal import PRINCIPAL
from web.problems import refuse
from web.services import SHOP
from web.ws.connection import CLOSE_SECONDS, RESTART
from web.ws.hub import STOPS, Hub

HUB = web.AppKey("hub", Hub)
HEARTBEAT_SECONDS = 30.0
"""A client that has been silent for so long is pinged, and given up when it does not answer within half of it."""

_log = structlog.get_logger("web.ws")


async def connect(request: web.Request) -> web.StreamResponse:
    """A live connection, from the handshake to its end.

    Raises:
        Refused: 426 `upgrade_required`, 403 `origin_not_allowed` or 503 `shutting_down`.
    """
    hub = request.app[HUB]
    ws = web.WebSocketResponse(
        timeout=CLOSE_SECONDS, heartbeat=HEARTBEAT_SECONDS, compress=False, max_msg_size=hub.limits.frame_bytes
    )
    if not ws.can_prepare(request):
        refuse("upgrade_required")
    if not allowed(request.headers.getall("Origin", ()), request.host, request.app[SHOP].allowed_origins):
        refuse("origin_not_allowed")
    if hub.stops() or request.transport is None:
        refuse("shutting_down")
    dress(ws, request[REQUEST_ID])
    await ws.prepare(request)
    request[PLACE].leave()  # it takes a connection from now on, and no room of the requests that are worked on
    connection = hub.enter(ws, request.transport, staff=request[PRINCIPAL].staff)
    if hub.stops():  # since a moment ago
        await connection.close(RESTART, STOPS)
    try:
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await hub.hear(connection, message.data)
            else:
                await hub.refuse(connection, "invalid", "Send text frames: JSON, no binary data.")
    except ConnectionError:
        pass  # the client has gone while it was answered
    except Exception:  # noqa: BLE001 - after the handshake no problem document can be sent: it ends with 1011
        _log.exception("a live connection failed", request=request[REQUEST_ID])
        await connection.close(WSCloseCode.INTERNAL_ERROR, "Something went wrong on our side.")
    finally:
        hub.leave(connection)
    return ws


def allowed(origins: Iterable[str], host: str, others: Iterable[str]) -> bool:
    """Whether pages of these origins may connect: those of this host, and others that the shop allows.

    A browser names the origin of its page and can't be made to lie about it; who names none is no browser.
    """
    given = [origin.lower() for origin in origins]
    return all(origin.partition("://")[2] == host.lower() or origin in others for origin in given)


async def close(app: web.Application) -> None:
    """Send all live connections away with 1012."""
    await app[HUB].stop()
