"""Answers for handles that something had before: 308, with where it is now."""

from urllib.parse import quote

import msgspec
from aiohttp import web

from web.answers import json_response


class Moved(msgspec.Struct, frozen=True):
    """What is asked for has another handle now, and is found at `location`."""

    id: str
    handle: str
    location: str


def moved(request: web.Request, noun: str, id: str, handle: str) -> web.Response:
    """308 to the address with the new handle; the query goes along.

    Args:
        request: for the old handle.
        noun: the resource, e.g. `products`.
        id: what had the old handle.
        handle: the one that it has now.
    """
    location = f"/api/v1/{noun}/{quote(handle)}"
    if request.query_string:
        location += f"?{request.rel_url.raw_query_string}"
    # Not for ever: something else may take the old handle as its own.
    return json_response(Moved(id, handle, location), 308, {"Location": location, "Cache-Control": "no-cache"})
