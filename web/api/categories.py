"""Categories: the tree that a shop's menus show, and as staff keep it."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ultramarket.domain.handles import HANDLE_LENGTH, handle, shortened
from ultramarket.domain.ids import new_id
from ultramarket.errors import Unavailable
from ultramarket.messages.category_tree import TREE, RemoveCategory, ShownCategory
from web import presenters
from web.answers import Tree, entity, field_tree, not_modified, select
from web.bodies import Body
from web.category_bodies import CategoryPatch, NewCategory, add_command, change_command, merges
from web.category_finder import CATEGORIES, Categories
from web.idempotency import WRITE
from web.operation import ask, operation
from web.preferences import expected_version, languages, text_in, unchanged
from web.problems import Refused, refuse
from web.queries import Fields, Query
from web.redirects import Moved, moved
from web.services import SHOP

PATCH_TYPES = ("application/merge-patch+json", "application/json")
TRIES = 32
"""How often a patch is made when somebody else changes the tree meanwhile."""


class TreeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the tree is shown."""

    depth: Annotated[int, msgspec.Meta(ge=1, le=100, description="Levels to show, from the top.")] | None = None
    fields: Fields | None = None


class CategoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a category is shown."""

    fields: Fields | None = None


class RemovalQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of the categories below."""

    children: Annotated[
        Literal["keep", "up"],
        msgspec.Meta(description="`up` puts the categories below in its place; else one that has any is not removed."),
    ] = "keep"


class CategoryLink(msgspec.Struct, frozen=True):
    """A category as others name it."""

    id: str
    handle: str
    title: str


class ListedCategory(msgspec.Struct, frozen=True):
    """A category in the tree; `level` is 1 at the top, `children` are the ids right below in their order."""

    id: str
    handle: str
    title: str
    parent: str | None
    level: int
    children: tuple[str, ...]


class CategoryList(msgspec.Struct, frozen=True):
    """The tree in the order of a menu: each category before those below it. `version` is the tree's."""

    version: int
    items: tuple[ListedCategory, ...]


class Category(msgspec.Struct, frozen=True):
    """A category; `description` is HTML, `path` has those above it from the top, `version` is the tree's."""

    id: str
    version: int
    handle: str
    title: str
    description: str
    seo: presenters.Seo
    media: tuple[presenters.Media, ...]
    parent: str | None
    position: int
    path: tuple[CategoryLink, ...]
    children: tuple[CategoryLink, ...]


LIST = Query(TreeQuery)
ONE = Query(CategoryQuery)
REMOVAL = Query(RemovalQuery)
NEW_CATEGORY = Body(NewCategory)
CATEGORY_PATCH = Body(CategoryPatch, types=PATCH_TYPES)


@operation(query=LIST, response=CategoryList, conditional=True)
async def index(request: web.Request) -> web.Response:
    """Show the category tree as it is now."""
    query = LIST.read(request)
    fields = field_tree(query.fields, ListedCategory)
    tree = await request.app[CATEGORIES].all()
    if unchanged(request, tree.version):
        return not_modified(tree.version)
    return _listed(request, tree, query.depth, fields)


@operation(
    query=ONE, response=Category, conditional=True, elsewhere=(308, Moved, "A handle that the category had before.")
)
async def show(request: web.Request) -> web.Response:
    """Show a category by its id or handle, with those above and right below it."""
    fields = field_tree(ONE.read(request).fields, Category)
    tree = await request.app[CATEGORIES].all()
    wanted = request.match_info["id"]
    category = tree.find(wanted)
    if category is None:
        if (now := tree.moved(wanted)) is not None:
            return moved(request, "categories", now.id, now.handle)
        refuse("not_found", "There is no such category.")
    if unchanged(request, tree.version):
        return not_modified(tree.version)
    return entity(select(await _present(request, tree, category), fields), tree.version)


@operation(
    body=NEW_CATEGORY,
    response=Category,
    status=201,
    writes="category_tree",
    staff=True,
    errors=("taken", "too_many_categories", "tree_too_deep"),
)
async def create(request: web.Request) -> web.Response:
    """Make a category."""
    shop, write = request.app[SHOP], request[WRITE]
    new = await NEW_CATEGORY.read(request)
    tree = await request.app[CATEGORIES].all()
    language = shop.channel.language
    id = write.derived_id(shop.secret, "category") or new_id()
    parent = _parent(tree, new.parent)
    made = new.handle or _free_handle(tree, new, language, id)
    command = await asyncio.to_thread(add_command, new, id, made, parent, language)
    try:
        answer = await ask(request, "category_tree", TREE, command)
    except Refused as refused:
        if new.handle or refused.rejection.code != "taken":
            raise
        # Somebody else took the handle meanwhile: one that nobody else makes is left.
        command = msgspec.structs.replace(command, handle=shortened(made, id, HANDLE_LENGTH))
        answer = await ask(request, "category_tree", TREE, command, attempt=1)
    return await _category(request, id, status=201, token=answer.token, location=f"/api/v1/categories/{id}")


@operation(
    body=CATEGORY_PATCH,
    response=Category,
    writes="category_tree",
    staff=True,
    conditional=True,
    errors=("taken", "category_cycle", "tree_too_deep"),
)
async def change(request: web.Request) -> web.Response:
    """Change a category by a JSON Merge Patch.

    `parent` (an id or handle, null for the top) and `position` move it, with all below it. A text sent as a string is
    set in the channel's language only.
    """
    language = request.app[SHOP].channel.language
    patch = await CATEGORY_PATCH.read(request)
    expect = expected_version(request)
    for attempt in range(TRIES):
        tree = await request.app[CATEGORIES].all()
        old = _find(tree, request.match_info["id"])
        details = await request.app[CATEGORIES].details(old.id, tree.version)
        # Texts are merged with what they are now: nobody may change them in between.
        wanted = tree.version if expect is None and merges(patch) else expect
        parent = _parent(tree, patch.parent)
        command = await asyncio.to_thread(change_command, patch, old.id, old.title, details, parent, language, wanted)
        try:
            answer = await ask(request, "category_tree", TREE, command, attempt=attempt)
        except Refused as refused:
            if refused.rejection.code != "version_mismatch" or expect is not None:
                raise
        else:
            return await _category(request, old.id, token=answer.token)
    raise Unavailable("unavailable", "Too many change the categories at the same time: try again.")


@operation(
    query=REMOVAL,
    response=CategoryList,
    writes="category_tree",
    staff=True,
    conditional=True,
    errors=("category_not_empty",),
)
async def remove(request: web.Request) -> web.Response:
    """Take a category out of the tree; the answer is the tree without it.

    Products that were in it stay as they are. With `children=up` the categories below it stand in its place.
    """
    children = REMOVAL.read(request).children
    wanted = request.match_info["id"]
    category = (await request.app[CATEGORIES].all()).find(wanted)
    # Where it is gone, the tree itself says so: to a repeat it gives its first reply.
    id = wanted if category is None else category.id
    command = RemoveCategory(id=id, children=children, expect=expected_version(request))
    answer = await ask(request, "category_tree", TREE, command)
    return _listed(request, await request.app[CATEGORIES].all(), token=answer.token)


def _find(tree: Categories, wanted: str) -> ShownCategory:
    """The category by its id or handle.

    Raises:
        Refused: 404 `not_found`.
    """
    category = tree.find(wanted)
    if category is None:
        refuse("not_found", "There is no such category.")
    return category


def _parent(tree: Categories, wanted: str | UnsetType | None) -> str | None:
    """The id of the category that is named as the one above.

    Raises:
        Refused: 422 `invalid`.
    """
    if wanted is None or wanted is UNSET:
        return None
    category = tree.find(wanted)
    if category is None:
        refuse("invalid", "There is no such category.", pointer="/parent")
    return category.id


def _free_handle(tree: Categories, new: NewCategory, language: str, id: str) -> str:
    """A handle made of the title; where another category has it, a hash of the id follows."""
    texts = new.title if isinstance(new.title, dict) else {language: new.title}
    made = handle(texts.get(language) or next(iter(texts.values()), ""))
    owner = tree.find(made)
    return made if owner is None or owner.id == id else shortened(made, id, HANDLE_LENGTH)


def _listed(
    request: web.Request,
    tree: Categories,
    depth: int | None = None,
    fields: Tree | None = None,
    token: str | None = None,
) -> web.Response:
    wanted, fallback = languages(request), request.app[SHOP].channel.language
    items = [
        ListedCategory(
            id=category.id,
            handle=category.handle,
            title=text_in(category.title, wanted, fallback),
            parent=category.parent,
            level=level,
            children=category.children,
        )
        for level, category in tree.walk(depth)
    ]
    body = {"version": tree.version, "items": [select(item, fields or {}) for item in items]}
    return entity(body, tree.version, token=token)


def _links(categories: Iterable[ShownCategory], wanted: tuple[str, ...], fallback: str) -> tuple[CategoryLink, ...]:
    return tuple(CategoryLink(c.id, c.handle, text_in(c.title, wanted, fallback)) for c in categories)


async def _present(request: web.Request, tree: Categories, category: ShownCategory) -> Category:
    details = await request.app[CATEGORIES].details(category.id, tree.version)
    wanted, fallback = languages(request), request.app[SHOP].channel.language
    return Category(
        id=category.id,
        version=tree.version,
        handle=category.handle,
        title=text_in(category.title, wanted, fallback),
        description=text_in(details.description, wanted, fallback),
        seo=presenters.Seo(
            text_in(details.seo.title, wanted, fallback), text_in(details.seo.description, wanted, fallback)
        ),
        media=tuple(presenters.Media(medium.url, text_in(medium.alt, wanted, fallback)) for medium in details.media),
        parent=category.parent,
        position=tree.position(category.id),
        path=_links(tree.path(category.id), wanted, fallback),
        children=_links(tree.children(category.id), wanted, fallback),
    )


async def _category(
    request: web.Request, id: str, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    """The category as it is after a write."""
    tree = await request.app[CATEGORIES].all()
    shown = await _present(request, tree, _find(tree, id))
    return entity(shown, tree.version, status=status, token=token, location=location)
