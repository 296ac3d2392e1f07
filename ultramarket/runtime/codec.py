"""How states, events, messages and answers are written and read: JSON text, byte for byte, within bounds."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import msgspec

from ultramarket.errors import Rejection, UltraMarketError
from ultramarket.ports.asking import Answer
from ultramarket.runtime.actor import Actor, Worker

STATE_LIMIT = 1 << 20
"""Bytes of an encoded state or part."""
BODY_LIMIT = 1 << 18
"""Bytes of an encoded event, message or answer."""
ANSWER_LIMIT = BODY_LIMIT - 1024
"""Bytes of an answer that is to be kept, before its consistency token is known."""
ID_LIMIT = 200
"""Bytes of an entity's id or an idempotency key: what an index row surely holds."""

UNREADABLE = (ValueError, RecursionError)
"""What decoding raises: msgspec's errors and those of UTF-8 are ValueErrors; the other comes of too deep a nesting."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_encoder = msgspec.json.Encoder()


class Unstorable(UltraMarketError):
    """A value that must not reach the store: too large, or with a text that PostgreSQL can't keep."""


def encode(value: Any, limit: int = BODY_LIMIT) -> str:
    """The JSON text of a value.

    Raises:
        Unstorable: it holds NUL or a lone surrogate, or is larger than the limit in bytes.
    """
    try:
        data = _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise Unstorable("a text holds a lone surrogate; send valid Unicode") from error
    if len(data) > limit:
        raise Unstorable(f"{len(data)} bytes where at most {limit} fit; send less at once")
    if b"\\u0000" in data and _NUL.search(data):
        raise Unstorable("a text holds the character NUL; leave it out")
    return data.decode()


def text_fault(text: str, limit: int = ID_LIMIT) -> str | None:
    """Why a text can't be an id or a key; None when it can."""
    if text.isascii() and 0 < len(text) <= limit and "\0" not in text:  # nearly all
        return None
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "it holds a lone surrogate"
    if not 0 < size <= limit:
        return f"it must have 1 to {limit} bytes"
    if "\0" in text:
        return "it holds the character NUL"
    return None


class Chain:
    """The hash chain of an entity: each event's hash covers the one before, and the exact bytes that are stored."""

    START = bytes(32)

    @staticmethod
    def link(head: bytes, names: Iterable[str], version: int, at: datetime, data: str) -> bytes:
        """SHA-256 over the head before, and kind, id, type, command, actor (JSON array), version, time and data."""
        microseconds = (at - _EPOCH) // timedelta(microseconds=1)
        meta = _encoder.encode((*names, version, microseconds))
        return sha256(b"%b%b\n%b" % (head, meta, data.encode())).digest()


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - datetime.UTC reads worse in arithmetic


class StoredAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer as it is kept with its turn."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    rejection: Rejection | None = None
    token: str | None = None
    version: int = 0


class StoredMessage(msgspec.Struct, frozen=True):
    """A message as it waits in the outbox."""

    source: str
    trace: str
    body: msgspec.Raw


_answers = msgspec.json.Decoder(StoredAnswer)
_messages = msgspec.json.Decoder(StoredMessage)


def encode_answer(answer: Answer, limit: int = BODY_LIMIT) -> str:
    """The text of an answer to keep.

    Raises:
        Unstorable: see `encode`.
    """
    value = msgspec.Raw(encode(answer.value, limit).encode())
    return encode(StoredAnswer(value, answer.rejection, answer.token, answer.version), limit)


def decode_answer(text: str) -> Answer:
    """An answer that was kept; its value is plain data."""
    stored = _answers.decode(text)
    return Answer(
        msgspec.json.decode(stored.value), stored.rejection, stored.token, replayed=True, version=stored.version
    )


def decode_message(text: str) -> StoredMessage:
    """A message from the outbox, its body still raw."""
    return _messages.decode(text)


class KindCodec:
    """Reads and writes what belongs to one kind."""

    def __init__(self, actor: Actor[Any, Any, Any] | Worker[Any]) -> None:
        self.kind = actor.kind
        self._command = msgspec.json.Decoder(actor.commands)
        if isinstance(actor, Actor):
            self._state = msgspec.json.Decoder(actor.state)
            self._event = msgspec.json.Decoder(actor.events)
            self._part = msgspec.json.Decoder(actor.part) if actor.part is not None else None

    def command(self, data: bytes | str | msgspec.Raw) -> Any:
        """A command or message of this kind."""
        return self._command.decode(data)

    def state(self, text: str) -> Any:
        """A stored state."""
        return self._state.decode(text)

    def event(self, text: str) -> Any:
        """A stored event."""
        return self._event.decode(text)

    def parts(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Stored parts by name."""
        if self._part is None:
            return {}
        return {name: self._part.decode(text) for name, text in texts.items()}
