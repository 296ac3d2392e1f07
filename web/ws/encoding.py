"""The public form of an event in JSON: made once, however many are told of it."""

from msgspec import UNSET

from ultramarket.ports.feed import Logged
from web.services import Tell
from web.ws.frames import Event, framed, write


class Encoding:
    """Encodes events.

    All who follow an entity are told of an event one right after the other, so the last one is all there is to keep.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._framed: tuple[Logged | None, bytes] = (None, b"")
        self._of_feed: tuple[Logged | None, bytes] = (None, b"")

    def payload(self, event: Logged, topic: str) -> bytes:
        """The event for those who follow its entity."""
        told = self._tell(event.kind, event.data)
        data = UNSET if told.data is None else told.data
        return write(Event(topic=topic, version=event.version, event=told.name, data=data, at=event.at))

    def frame(self, event: Logged, topic: str) -> bytes:
        """The same on the wire."""
        known, frame = self._framed
        if known is not event:
            frame = framed(self.payload(event, topic))
            self._framed = (event, frame)
        return frame

    def of_feed(self, event: Logged, topic: str, position: str) -> bytes:
        """The event for who follows all of its kind and is at this position then."""
        known, text = self._of_feed
        if known is not event:
            told = self._tell(event.kind, event.data)
            data = UNSET if told.data is None else told.data
            whole = Event(topic=topic, order=event.id, version=event.version, event=told.name, data=data, at=event.at)
            text = write(whole)[:-1]
            self._of_feed = (event, text)
        return b'%b,"position":"%b"}' % (text, position.encode("ascii"))
