"""How deliveries and answers travel over a broker: JSON, the command in the codec of its kind."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from ultramarket.errors import Rejection, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.codec import UNREADABLE, KindCodec
from ultramarket.runtime.poison import ActorFailed
from ultramarket.runtime.turn import Follow, Keep, Look, Unreadable

KEEP, LOOK, FOLLOW = "keep", "look", "follow"
_NULL = msgspec.Raw(b"null")


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delivery on its way.

    Attributes:
        body: the command.
        own: set where it is a command of the runtime itself: `keep`, `look` or `follow`.
        reply_to: the queue where the answer to a client's command is waited for.
        ask: the asker's number for it.
    """

    kind: str
    no: int
    id: str
    principal: str
    trace: str
    command_id: str
    body: msgspec.Raw
    own: str = ""
    key: str | None = None
    body_hash: bytes = b""
    deadline: float | None = None
    message: str | None = None
    source: str = ""
    reply_to: Annotated[str, msgspec.Meta(max_length=60)] = ""  # AMQP takes 255 bytes, and a character has up to four
    ask: int = 0


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a client's command; `code` is set where an exception came of it (empty: the actor failed)."""

    ask: int
    value: msgspec.Raw = _NULL
    rejection: Rejection | None = None
    token: str | None = None
    replayed: bool = False
    version: int = 0
    code: str | None = None
    detail: str = ""
    retry_after: int = 1


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(Envelope)
_replies = msgspec.json.Decoder(Reply)


def seal(delivery: Delivery, reply_to: str = "", ask: int = 0) -> bytes:
    """A delivery as bytes.

    Raises:
        UnicodeEncodeError: the command holds a lone surrogate.
    """
    own, body = _split(delivery.command)
    return _encoder.encode(
        Envelope(
            delivery.kind,
            delivery.no,
            delivery.id,
            delivery.principal,
            delivery.trace,
            delivery.command_id,
            msgspec.Raw(_encoder.encode(body)),
            own,
            delivery.key,
            delivery.body_hash,
            delivery.deadline,
            delivery.message,
            delivery.source,
            reply_to,
            ask,
        )
    )


def _split(command: Any) -> tuple[str, Any]:
    """What stands as `own` and as body."""
    match command:
        case Keep():
            return KEEP, command.value
        case Look():
            return LOOK, None
        case Follow():
            return FOLLOW, command.after
        case _:
            return "", command


def unseal(body: bytes) -> Envelope:
    """The envelope, its command still raw."""
    return _envelopes.decode(body)


def delivery_of(envelope: Envelope, codecs: Mapping[str, KindCodec]) -> Delivery:
    """The delivery; a command that this program can't read stands as `Unreadable`. It is not verified."""
    command: Any
    if envelope.own == KEEP:
        command = Keep(msgspec.json.decode(envelope.body))
    elif envelope.own == LOOK:
        command = Look()
    elif envelope.own == FOLLOW:
        command = Follow(msgspec.json.decode(envelope.body, type=int))
    else:
        try:
            command = codecs[envelope.kind].command(envelope.body)
        except UNREADABLE as error:
            command = Unreadable(str(error))
    return Delivery(
        envelope.kind,
        envelope.no,
        envelope.id,
        command,
        envelope.principal,
        envelope.trace,
        envelope.command_id,
        key=envelope.key,
        body_hash=envelope.body_hash,
        deadline=envelope.deadline,
        message=envelope.message,
        source=envelope.source,
    )


def seal_reply(ask: int, answer: Answer | Exception) -> bytes:
    """An answer as bytes; its value arrives as plain data."""
    if isinstance(answer, Unavailable):
        return _encoder.encode(Reply(ask, code=answer.code, detail=str(answer), retry_after=answer.retry_after))
    if isinstance(answer, Exception):
        return _encoder.encode(Reply(ask, code="", detail=str(answer)))
    value = msgspec.Raw(_encoder.encode(answer.value))
    return _encoder.encode(
        Reply(ask, value, answer.rejection, answer.token, replayed=answer.replayed, version=answer.version)
    )


def settle_reply(body: bytes, asked: Callable[[int], Callable[[Answer | Exception], None] | None]) -> None:
    """Give an answer to who waits for it, if anybody does."""
    reply = _replies.decode(body)
    settle = asked(reply.ask)
    if settle is None:
        return
    if reply.code is None:
        value = msgspec.json.decode(reply.value)
        settle(Answer(value, reply.rejection, reply.token, replayed=reply.replayed, version=reply.version))
    else:
        settle(Unavailable(reply.code, reply.detail, reply.retry_after) if reply.code else ActorFailed(reply.detail))
