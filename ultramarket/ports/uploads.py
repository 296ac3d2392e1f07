"""Files on their way in: kept until their import has ended, wherever the import runs."""

from collections.abc import AsyncIterator
from typing import Protocol


class Uploads(Protocol):
    """A durable store of byte streams by id."""

    async def write(self, id: str, chunks: AsyncIterator[bytes]) -> int:
        """Keep the stream under the id, replacing what was there; gives its size in bytes once all of it is durable."""
        ...

    def read(self, id: str) -> AsyncIterator[bytes]:
        """The stream in chunks, from its beginning.

        Raises:
            UltraMarketError: there is no such upload.
        """
        ...

    async def drop(self, id: str) -> None:
        """Forget the stream; unknown ids are no error."""
        ...
