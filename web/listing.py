"""What lists have in common: they wait for a write that the reader knows of, and refuse broken cursors."""

from typing import NoReturn

from aiohttp import web

from ultramarket.errors import Unavailable
from web.preferences import consistency_token
from web.problems import KINDS, refuse
from web.services import SHOP

WAIT_SECONDS = 5.0
"""How long a list waits for its view."""


async def shown_writes(request: web.Request) -> None:
    """Wait until the views show the write that `Prefer: consistency=` names.

    Raises:
        Refused: 400 `malformed_token`.
        Unavailable: `view_behind`.
    """
    token = consistency_token(request)
    if token is None:
        return
    place, _, seq = token.partition("@")
    kind, _, no = place.partition(".")
    if not await request.app[SHOP].views.wait(kind, int(no), int(seq), WAIT_SECONDS):
        raise Unavailable("view_behind", KINDS["view_behind"].meaning)


def refuse_list(error: ValueError) -> NoReturn:
    """Say what a view could not take.

    Raises:
        Refused: 400 `malformed_cursor` or 422 `invalid_parameter`.
    """
    refuse("malformed_cursor" if "cursor" in str(error) else "invalid_parameter", str(error))
