"""What goes over a live connection: the frames of clients, and those of the server with their bytes on the wire."""

import struct
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import WSMsgType
from msgspec import UNSET, UnsetType

_FINAL_TEXT = 0x80 | WSMsgType.TEXT
_SHORT, _LONG = 126, 1 << 16
"""Lengths from which on a frame's length takes two and eight bytes more (RFC 6455, 5.2)."""


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe", tag_field="type", forbid_unknown_fields=True):
    """Tell me of this topic; of what came after this version (`orders`: after this position), or from now on."""

    topic: str
    after: int | str | None = None


class Unsubscribe(msgspec.Struct, frozen=True, tag="unsubscribe", tag_field="type", forbid_unknown_fields=True):
    """Tell me no more of this topic."""

    topic: str


class Ping(msgspec.Struct, frozen=True, tag="ping", tag_field="type", forbid_unknown_fields=True):
    """Are you there?"""


class Event(msgspec.Struct, frozen=True, tag="event", tag_field="type", kw_only=True):
    """Something happened to what the topic names; an internal event comes without data."""

    topic: str
    order: str | UnsetType = UNSET
    version: int
    event: str
    data: Any = UNSET
    at: datetime


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed", tag_field="type", kw_only=True):
    """The answer to `subscribe`: what happened after this version, or this position, follows."""

    topic: str
    version: int | UnsetType = UNSET
    position: str | UnsetType = UNSET


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed", tag_field="type", kw_only=True):
    """The answer to `unsubscribe`: nothing follows any more."""

    topic: str


class Pong(msgspec.Struct, frozen=True, tag="pong", tag_field="type"):
    """The answer to `ping`."""


class Error(msgspec.Struct, frozen=True, tag="error", tag_field="type", kw_only=True):
    """What was asked for can't be had, or a subscription has ended; the connection goes on."""

    code: str
    detail: str
    topic: str | UnsetType = UNSET


Asked = Subscribe | Unsubscribe | Ping
read = msgspec.json.Decoder(Asked).decode
"""Reads a client's frame; raises msgspec.DecodeError, or its ValidationError."""
write = msgspec.json.Encoder().encode
"""The JSON text of a frame of the server."""


def framed(payload: bytes) -> bytes:
    """A text message as it goes over the wire (RFC 6455, 5.2): from a server it is not masked, so all get the same."""
    size = len(payload)
    if size < _SHORT:
        return struct.pack("!BB", _FINAL_TEXT, size) + payload
    if size < _LONG:
        return struct.pack("!BBH", _FINAL_TEXT, _SHORT, size) + payload
    return struct.pack("!BBQ", _FINAL_TEXT, _SHORT + 1, size) + payload
