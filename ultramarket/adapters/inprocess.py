"""Mailboxes inside one process: an offer calls the owner's door, which has a bound of its own."""

from ultramarket.ports.mailbox import Deliver, Delivery


class InProcessMailbox:
    """The mailbox of a platform that runs in one process; see `ultramarket.ports.mailbox.Mailbox`."""

    def __init__(self) -> None:
        self._doors: dict[tuple[str, int], Deliver] = {}

    def open(self, kind: str, no: int, deliver: Deliver) -> None:
        """Consume a partition's mailbox."""
        self._doors[kind, no] = deliver

    def close(self, kind: str, no: int) -> None:
        """Stop to consume; harmless when nobody does."""
        self._doors.pop((kind, no), None)

    async def drain(self, kind: str, no: int) -> None:
        """Stop to consume: who asked is in this process too, and waits for its own answer."""
        self.close(kind, no)

    def ready(self) -> bool:
        """Always."""
        return True

    def offer(self, delivery: Delivery) -> bool:
        """Hand on to the owner, if there is one and it has room."""
        door = self._doors.get((delivery.kind, delivery.no))
        return door is not None and door(delivery)
