"""Answers in JSON, with the headers that entities and lists have in common."""

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from web.problems import refuse

encode = msgspec.json.Encoder().encode

_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Accept-Language, Authorization"}
"""What differs from reader to reader, and is asked for anew each time."""

Tree = dict[str, "Tree"]
"""Names of fields to show, with those of what is inside them; empty: all of it."""


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """The value as JSON."""
    return web.Response(body=encode(value), status=status, content_type="application/json", headers=headers)


def entity(
    value: Any, version: int, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    """An entity with its ETag; after a write with its consistency token, after a creation with its address."""
    headers = _of_version(version)
    if token is not None:
        headers["X-Consistency"] = token
    if location is not None:
        headers["Location"] = location
    return json_response(value, status, headers)


def encoded_entity(body: bytes, version: int) -> web.Response:
    """An entity whose body was made before."""
    return web.Response(body=body, content_type="application/json", headers=_of_version(version))


def not_modified(version: int) -> web.Response:
    """304: the client has this version."""
    return web.Response(status=304, headers=_of_version(version))


def _of_version(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"', **_PRIVATE}


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


def select(value: Any, tree: Tree) -> Any:
    """The value with only the fields of the tree; all of it where the tree is empty."""
    if not tree:
        return value
    return _select(msgspec.to_builtins(value), tree)


def _select(value: Any, tree: Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list | tuple):
        return [_select(item, tree) for item in value]
    if isinstance(value, dict):
        return {name: _select(value[name], branch) for name, branch in tree.items() if name in value}
    return value


def page(items: Iterable[Any], following: str | None) -> web.Response:
    """A page of a list."""
    return json_response({"items": list(items), "next": following}, headers=_PRIVATE)
