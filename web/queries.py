"""Query parameters as Structs: typed, bounded, and unknown ones refused by name."""

import re
from typing import Annotated, Any, Generic, TypeVar, cast, get_args, get_origin
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web

from ultramarket.errors import Rejection
from web.problems import Refused, refuse

T = TypeVar("T")

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_BAD_TEXT = re.compile("[\0\ud800-\udfff]")
_AT = re.compile(r"(.*) - at `\$\.(\w+)`$", re.DOTALL)

Limit = Annotated[int, msgspec.Meta(ge=1, le=100, description="How many items at most.")]
Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=1000, description="`next` of the list before.")]
Fields = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=1000,
        description="Names of the fields to show, e.g. `id,title,variants.sku`; all when absent.",
    ),
]


class Query(Generic[T]):
    """The query parameters that a call takes: one Struct with `forbid_unknown_fields`.

    A parameter that the Struct has as a tuple may stand there several times, each time with one more value.

    Attributes:
        shape: the Struct; its fields are optional.
        prefix: parameters whose names begin with it are not the Struct's, e.g. `option.`; empty: there are none.
    """

    def __init__(self, shape: type[T], *, prefix: str = "") -> None:
        self.shape = shape
        self.prefix = prefix
        fields = msgspec.structs.fields(cast("type[msgspec.Struct]", shape))
        self._several = frozenset(field.encode_name for field in fields if _is_tuple(field.type))

    def read(self, request: web.Request) -> T:
        """The parameters.

        Raises:
            Refused: 422 `unknown_parameter` or `invalid_parameter`.
        """
        _check_encoding(request)
        values: dict[str, Any] = {}
        for name, value in request.query.items():
            if self.prefix and name.startswith(self.prefix):
                continue
            _check(name, value)
            if name in self._several:
                values.setdefault(name, []).append(value)
            elif name in values:
                refuse("invalid_parameter", f"The parameter `{name[:100]}` stands there twice.")
            else:
                values[name] = value
        try:
            read = msgspec.convert(values, self.shape, strict=False)
        except msgspec.ValidationError as error:
            raise Refused(_explain(str(error))) from error
        for name in values:
            # The converter reads the word `null` as nothing; a parameter that is absent says that.
            if getattr(read, name) is None:
                refuse("invalid_parameter", f"The parameter `{name}` can't be null: leave it out.")
        return read

    def prefixed(self, request: web.Request) -> dict[str, tuple[str, ...]]:
        """The values of each parameter with the prefix, by its name without it.

        Raises:
            Refused: 422 `invalid_parameter`.
        """
        found: dict[str, tuple[str, ...]] = {}
        for name, value in request.query.items():
            if name.startswith(self.prefix):
                _check(name, value)
                rest = name.removeprefix(self.prefix)
                if not rest:
                    refuse("invalid_parameter", f"The parameter `{self.prefix}` names nothing after its point.")
                found[rest] = (*found.get(rest, ()), value)
        return found


def _is_tuple(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) is tuple


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No query parameters."""


NOTHING = Query(NoQuery)


def _check_encoding(request: web.Request) -> None:
    raw = request.rel_url.raw_query_string
    if "%" not in raw:
        return
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:  # it would stay as it is written, percent signs and all
        refuse("invalid_parameter", "A query parameter holds NUL or is not UTF-8.")


def _check(name: str, value: str) -> None:
    if _BAD_TEXT.search(name) or _BAD_TEXT.search(value):
        refuse("invalid_parameter", "A query parameter holds NUL or is not UTF-8.")


def _explain(message: str) -> Rejection:
    if unknown := _UNKNOWN.match(message):
        return Rejection("unknown_parameter", f"There is no parameter `{unknown[1][:100]}` here.", 422)
    if at := _AT.match(message):
        return Rejection("invalid_parameter", f"The parameter `{at[2]}` can't be that: {at[1].lower()}.", 422)
    return Rejection("invalid_parameter", f"{message}.", 422)
