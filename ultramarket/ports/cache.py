"""Answers that may be given again for a while: nothing is lost when they are, and nothing is decided by them."""

from typing import Protocol


class Cache(Protocol):
    """Bytes by key, each for a time of its own.

    A key names what its value was made from, e.g. the place in the log that a view had reached: what is made of newer
    events has another key, so that nobody has to find and delete the old one. A cache may forget at any time.
    """

    @property
    def state(self) -> str:
        """`ok`, or why nothing is kept just now."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The value; None where it is not there, too old, or the cache can't be reached."""
        ...

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Keep the value for so many seconds at most; one that can't be kept is left out."""
        ...

    async def delete(self, *keys: str) -> None:
        """Forget these; unknown ones are no error."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
