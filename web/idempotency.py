"""Idempotency keys: the same key and body again gives the first answer again, byte for byte, for 24 hours.

The command's own reply is stored by the actor in the same commit as what it did, so nothing happens twice. The whole
answer is kept beside it once it is known; a process that dies in between answers a repeat with the present state.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from ultramarket.messages.common import Sealed
from ultramarket.ports.vault import ERASED
from web.bodies import BODY_HASH
from web.problems import Refused, refuse
from web.services import SHOP

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEPT_HEADERS = ("Location", "ETag", "X-Consistency")
MAX_KEY = 200
"""Characters of a key."""
_VALID = re.compile(rf"[!-~]{{1,{MAX_KEY}}}")


@dataclass(slots=True)
class Write:
    """What makes a request repeatable.

    Attributes:
        scope: principal, method and path, and for what guests share by its path, what tells them apart.
        client_key: the client's key; None: the request is not repeatable.
        replayed: the actor gave its stored reply: this is a repeat.
        unfinished: a part of it could not be done now: the answer is not kept, so that a repeat does the rest.
        subject: whose personal values the answer shows; it is kept sealed then.
    """

    scope: str
    client_key: str | None
    replayed: bool = False
    unfinished: bool = False
    subject: str | None = None

    @property
    def key(self) -> str | None:
        """Scope and key as one short text, for the actors."""
        if self.client_key is None:
            return None
        return hashlib.sha256(f"{self.scope}\0{self.client_key}".encode()).hexdigest()

    def occurrence(self, body_hash: bytes) -> str | None:
        """An id that a request and its repeats have in common; None without a key."""
        if self.client_key is None:
            return None
        return hashlib.sha256(f"{self.scope}\0{self.client_key}\0".encode() + body_hash).hexdigest()[:32]

    def derived_id(self, secret: bytes, noun: str) -> str | None:
        """An id that a repeat finds again and nobody can guess: an HMAC of scope and key; None without a key."""
        if self.client_key is None:
            return None
        text = f"{noun}\0{self.scope}\0{self.client_key}".encode()
        return hmac.new(secret, text, hashlib.sha256).hexdigest()[:40]


WRITE = web.RequestKey("write", Write)
IN_FLIGHT = web.AppKey("in_flight", set[str])


class KeptAnswer(msgspec.Struct, frozen=True):
    """A whole answer, as kept for repeats."""

    status: int
    body: str | Sealed
    content_type: str
    headers: dict[str, str]


def begin(request: web.Request, principal: str) -> Write:
    """Read the request's key.

    Raises:
        Refused: 400 `malformed_header`.
    """
    given = request.headers.getall(IDEMPOTENCY_KEY, ())
    if len(given) > 1 or (given and not _VALID.fullmatch(given[0])):
        refuse("malformed_header", "Idempotency-Key must be 1 to 200 visible ASCII characters, sent once.")
    return Write(f"{principal} {request.method} {request.path}", given[0] if given else None)


def claim(in_flight: set[str], key: str) -> None:
    """Note that a request with this key runs.

    Raises:
        Refused: 409 `in_progress`: one does already.
    """
    if key in in_flight:
        refuse("in_progress")
    in_flight.add(key)


async def kept_answer(noun: str, request: web.Request, write: Write) -> web.Response | None:
    """The answer that was kept for this key, None where there is none or the key of its sealed values is gone.

    Raises:
        Refused: 422 `idempotency_key_reused`: the body was another.
    """
    key = write.key
    if key is None:
        return None
    shop = request.app[SHOP]
    answer = await shop.actors.stored(noun, key, f"answer:{key}", request.get(BODY_HASH, b""))
    if answer is None:
        return None
    if answer.rejection is not None:
        raise Refused(answer.rejection)
    kept = msgspec.convert(answer.value, KeptAnswer)
    headers = {**kept.headers, REPLAYED: "true"}
    body = kept.body
    if isinstance(body, Sealed):
        body = (await shop.vault.opener(body.subject))(body)
        if body == ERASED:
            return None
    return web.Response(body=body.encode(), status=kept.status, content_type=kept.content_type, headers=headers)


async def keep_answer(noun: str, request: web.Request, write: Write, response: web.Response) -> None:
    """Keep the answer for repeats of its request; sealed, where it shows personal values."""
    key = write.key
    if key is None:
        return
    shop = request.app[SHOP]
    body: Any = response.body
    text = bytes(body or b"").decode()
    kept = KeptAnswer(
        status=response.status,
        body=text if write.subject is None else (await shop.vault.sealer(write.subject))(text),
        content_type=response.content_type,
        headers={name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
    )
    await shop.actors.keep(noun, key, f"answer:{key}", request.get(BODY_HASH, b""), kept)
