"""Answers in JSON, with the headers that entities and lists have in common."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET

from web.problems import refuse

encode = msgspec.json.Encoder().encode

VARY = "Accept-Encoding, Accept-Language, Authorization"
"""The request headers that answers differ by."""
_PRIVATE = {"Cache-Control": "private, no-store", "Vary": VARY}
"""What concerns one person alone, or staff: nothing on the way may keep it."""

Shown = TypeVar("Shown", bound=msgspec.Struct)
Tree = dict[str, "Tree"]
"""Names of fields to show, with those of what is inside them; empty: all of it."""


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """The value as JSON."""
    return web.Response(body=encode(value), status=status, content_type="application/json", headers=headers)


def entity(
    value: Any,
    version: int,
    *,
    status: int = 200,
    token: str | None = None,
    location: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """An entity with its ETag; after a write with its consistency token, after a creation with its address.

    `headers` say who may keep it, nobody where there are none.
    """
    headers = _of_version(version, headers)
    if token is not None:
        headers["X-Consistency"] = token
    if location is not None:
        headers["Location"] = location
    return json_response(value, status, headers)


def not_modified(version: int, headers: dict[str, str] | None = None) -> web.Response:
    """304: the client has this version; `headers` as of the entity."""
    return web.Response(status=304, headers=_of_version(version, headers))


def _of_version(version: int, headers: dict[str, str] | None) -> dict[str, str]:
    return {"ETag": f'"{version}"', **(headers or _PRIVATE)}


def field_tree(fields: str | None, shape: type[msgspec.Struct]) -> Tree:
    """The fields that `fields=` names.

    Raises:
        Refused: 422 `invalid_parameter`: a name that the shape does not have.
    """
    tree: Tree = {}
    for path in fields.split(",") if fields else ():
        known: Any = shape
        branch = tree
        for name in path.strip().split("."):
            known = _member(known, name)
            if known is None:
                refuse(
                    "invalid_parameter", f"The parameter `fields` names `{path.strip()[:100]}`, which is not a field."
                )
            branch = branch.setdefault(name, {})
    return tree


def _member(shape: Any, name: str) -> Any:
    """The type of a field in the Struct or mapping that a type holds (itself, optional, or in a list), or None."""
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        return next((field.type for field in msgspec.structs.fields(shape) if field.encode_name == name), None)
    inner: tuple[Any, ...] = getattr(shape, "__args__", ())
    if getattr(shape, "__origin__", None) is dict:
        return inner[1] if name else None
    return next((found for part in inner if (found := _member(part, name)) is not None), None)


def spared(shown: Shown, tree: Tree, costly: Mapping[str, Any]) -> Shown:
    """A public form without those of its costly parts that the tree does not name: nobody presents them then.

    Args:
        shown: the public form.
        tree: the fields to show; empty: all.
        costly: fields that take long to present, each with what stands there instead.
    """
    if not tree:
        return shown
    return msgspec.structs.replace(shown, **{name: empty for name, empty in costly.items() if name not in tree})


def select(value: Any, tree: Tree) -> Any:
    """The value with only the fields of the tree; all of it where the tree is empty."""
    if not tree:
        return value
    if isinstance(value, msgspec.Struct):
        names = _attributes(type(value))
        chosen = ((name, getattr(value, names[name]), tree[name]) for name in tree if name in names)
        return {name: select(member, branch) for name, member, branch in chosen if member is not UNSET}
    if isinstance(value, list | tuple):
        return [select(item, tree) for item in value]
    if isinstance(value, dict):
        return {name: select(value[name], branch) for name, branch in tree.items() if name in value}
    return value


@lru_cache(maxsize=256)
def _attributes(shape: type[msgspec.Struct]) -> dict[str, str]:
    """The attributes of a Struct by the names that its fields have in JSON."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(shape)}


def page(
    items: Iterable[Any], following: str | None, headers: dict[str, str] | None = None, **beside: Any
) -> web.Response:
    """A page of a list, with a hash of it as its ETag.

    Args:
        items: what is on it.
        following: the cursor of the next page, None on the last one.
        headers: say who may keep it; nobody where there are none.
        beside: further members of the answer.
    """
    return listing({"items": list(items), "next": following, **beside}, headers)


def listing(value: Any, headers: dict[str, str] | None = None) -> web.Response:
    """What a view gave, with a hash of it as its ETag; `headers` as of `page`."""
    body = encode(value)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    given = {"ETag": f'"{digest}"', **(headers or _PRIVATE)}
    return web.Response(body=body, content_type="application/json", headers=given)


def minimal(answer: web.Response) -> web.Response:
    """The answer to a write without its body, as `Prefer: return=minimal` asks (RFC 7240, 4.2)."""
    headers = answer.headers.copy()
    for name in ("Content-Type", "Content-Length"):
        headers.popall(name, None)
    headers["Preference-Applied"] = "return=minimal"
    made = answer.status in (web.HTTPCreated.status_code, web.HTTPAccepted.status_code)
    return web.Response(status=answer.status if made else 204, headers=headers)
