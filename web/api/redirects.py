"""Redirects: paths that staff lead to other paths."""

import hashlib
from datetime import datetime
from typing import Annotated
from urllib.parse import unquote

import msgspec
from aiohttp import web

from ultramarket.messages.redirect import AddRedirect, RemoveRedirect, ShownRedirect
from ultramarket.views.redirects import RedirectFilters
from web.answers import entity, not_modified, page
from web.bodies import Body
from web.listing import refuse_list, shown_writes
from web.operation import ask, operation
from web.preferences import expected_version, unchanged
from web.problems import refuse
from web.queries import Cursor, Limit, Query
from web.services import SHOP

Path = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class NewRedirect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A path, and the one that it is to lead to."""

    source: Path = msgspec.field(name="from")
    target: Path = msgspec.field(name="to")


class ListedRedirect(msgspec.Struct, frozen=True, kw_only=True):
    """A redirect in the list."""

    id: str
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    created_at: datetime


class Redirect(ListedRedirect, frozen=True, kw_only=True):
    """A redirect; `active` is false once it was removed."""

    version: int
    active: bool


class RedirectPage(msgspec.Struct, frozen=True):
    """A page of redirects; `next` is the cursor of the next one."""

    items: tuple[ListedRedirect, ...]
    next: str | None


class RedirectsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which redirects are wanted."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=1000, description="Where it begins.")] | None = None
    limit: Limit = 24
    cursor: Cursor | None = None


LIST = Query(RedirectsQuery)
NEW_REDIRECT = Body(NewRedirect)


@operation(query=LIST, response=RedirectPage, staff=True, consistent=True)
async def index(request: web.Request) -> web.Response:
    """List the redirects that staff have added, the newest first."""
    query = LIST.read(request)
    await shown_writes(request)
    try:
        found = await request.app[SHOP].redirects.find(RedirectFilters(source=query.path), query.limit, query.cursor)
    except ValueError as error:
        refuse_list(error)
    items = (
        ListedRedirect(id=item.id, source=item.source, target=item.target, created_at=item.created_at)
        for item in found.items
    )
    return page(items, found.next)


@operation(body=NEW_REDIRECT, response=Redirect, status=201, writes="redirect", staff=True, errors=("taken",))
async def create(request: web.Request) -> web.Response:
    """Lead a path to another one.

    It is followed (308) where nothing else is at the path. `to` may have a query.
    """
    new = await NEW_REDIRECT.read(request)
    source = unquote(new.source)
    id = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    answer = await ask(request, "redirect", id, AddRedirect(source=source, target=new.target))
    return await _redirect(request, id, status=201, token=answer.token, location=f"/api/v1/redirects/{id}")


@operation(response=Redirect, conditional=True, staff=True)
async def show(request: web.Request) -> web.Response:
    """Show a redirect."""
    id = request.match_info["id"]
    shown = await request.app[SHOP].actors.read("redirect", id)
    if shown is not None and unchanged(request, shown.version):
        return not_modified(shown.version)
    return await _redirect(request, id)


@operation(response=Redirect, writes="redirect", staff=True, conditional=True)
async def remove(request: web.Request) -> web.Response:
    """Remove a redirect."""
    id = request.match_info["id"]
    answer = await ask(request, "redirect", id, RemoveRedirect(expect=expected_version(request)))
    return await _redirect(request, id, token=answer.token)


async def _redirect(
    request: web.Request, id: str, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    shown = await request.app[SHOP].actors.read("redirect", id)
    if shown is None:
        refuse("not_found", "There is no such redirect.")
    value: ShownRedirect = shown.value
    redirect = Redirect(
        id=id,
        version=shown.version,
        source=value.source,
        target=value.target,
        active=value.active,
        created_at=value.created_at,
    )
    return entity(redirect, shown.version, status=status, token=token, location=location)
