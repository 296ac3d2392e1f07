"""Reading request bodies: content type, size, text and shape are checked before a handler sees anything."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from ultramarket.errors import Fault, Rejection
from web.admission import PLACE
from web.problems import Refused, refuse

MAX_BYTES = 1024 * 1024
"""Largest body of a call that takes JSON."""

BODY_HASH = web.RequestKey("body_hash", bytes)
READING = web.RequestKey("reading", bool)
"""Whether the handler waits for the client to send more of the body."""

T = TypeVar("T")

# An escape that could be NUL or half of a surrogate pair; only then is the text looked at closely.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_BAD_TEXT = re.compile("[\0\ud800-\udfff]")
_FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(.*?)`")
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.([^.\[\]]+)")


class Body(Generic[T]):
    """The JSON body that a call takes: one Struct, in one or more content types.

    Attributes:
        shape: the Struct.
        types: content types that are accepted; the first one is the documented one.
        optional: without a body the Struct's defaults hold.
    """

    def __init__(
        self, shape: type[T], *, types: tuple[str, ...] = ("application/json",), optional: bool = False
    ) -> None:
        self.shape = shape
        self.types = types
        self.optional = optional
        self._decode = msgspec.json.Decoder(shape).decode

    async def read(self, request: web.Request) -> T:
        """The body as its Struct; its hash goes into the request for idempotency.

        Raises:
            Refused: 400 `malformed_json`, `not_utf8` or `malformed_body`, 413 `body_too_large`,
                415 `unsupported_media_type`, 422 `invalid` or `invalid_text`.
        """
        raw = await read_raw(request)
        if not raw and self.optional:
            return self.shape()
        if request.content_type not in self.types or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
            refuse("unsupported_media_type", f"Send the body as {self.types[0]} in UTF-8.")
        if _SUSPECT.search(raw):
            _check_escapes(raw)
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            raise Refused(_invalid(str(error))) from error
        except UnicodeDecodeError:
            refuse("not_utf8")
        except (msgspec.DecodeError, RecursionError) as error:
            refuse("malformed_json", _sentence(error))


async def read_raw(request: web.Request) -> bytes:
    """The body's bytes; their hash goes into the request for idempotency.

    Raises:
        Refused: 400 `malformed_body`, 413 `body_too_large`, 415 `unsupported_media_type`.
        Unavailable: 503 `overloaded`: while the body was on its way, others took the room.
    """
    check_coding(request, "gzip", "deflate")
    if (request.content_length or 0) > MAX_BYTES:
        refuse("body_too_large", f"The body may have {MAX_BYTES} bytes at most.")
    request[READING] = True
    place = None if request.content.is_eof() else request.get(PLACE)
    if place is not None:
        place.leave()
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        refuse("body_too_large", f"The body may have {MAX_BYTES} bytes at most.")
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError):  # the last: the client has gone
        refuse("malformed_body")
    request[READING] = False
    if place is not None:
        place.come_back()
    request[BODY_HASH] = hashlib.sha256(raw).digest()
    return raw


def check_coding(request: web.Request, *known: str) -> None:
    """Refuse a body in a content coding that is not known.

    aiohttp takes an unknown one for none, and the end of a cut stream in some for the end of the body.

    Raises:
        Refused: 415 `unsupported_media_type`.
    """
    codings = request.headers.getall("Content-Encoding", ())
    if codings and (len(codings) > 1 or codings[0].strip().lower() not in ("identity", *known)):
        others = f", or in {' or '.join(known)}" if known else ""
        refuse("unsupported_media_type", f"Send the body without Content-Encoding{others}.")


def _sentence(error: Exception) -> str:
    return "The body is nested too deeply." if isinstance(error, RecursionError) else f"{error}."


def _check_escapes(raw: bytes) -> None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return  # the strict decoder says what is wrong with it
    for text in _texts(value):
        if _BAD_TEXT.search(text):
            refuse("invalid_text", "A text in the body holds NUL or half of a surrogate pair.")


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _invalid(message: str) -> Rejection:
    """The refusal for an error of the decoder, with a JSON pointer (RFC 6901) to the place it names."""
    detail, _, path = message.partition(" - at `$")
    # A key of a mapping is not told by the decoder: the pointer then ends at the mapping.
    known = path.partition("[...]")[0].removesuffix("`")
    steps = [index or name for index, name in _STEP.findall(known)]
    named = _FIELD.match(detail)
    if named and "[...]" not in path:
        steps.append(named[1])
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    return Rejection("invalid", f"{detail}.", 422, (Fault(pointer, detail),))
