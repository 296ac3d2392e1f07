"""Bringing a product file into a running platform, and showing how far that is."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ultramarket.cli.client import Client
from ultramarket.cli.printing import err, note
from ultramarket.errors import UltraMarketError

CHUNK = 256 * 1024
_LINE_SECONDS = 5.0
"""How often a line of progress is written where there is no terminal."""


class Watcher(Protocol):
    """Is told how far it is."""

    def sent(self, done: int, size: int) -> None:
        """So many bytes of so many have been sent."""
        ...

    def got(self, done: dict[str, Any], records: int) -> None:
        """The import as it stands, of so many records."""
        ...


class Silence:
    """Watches and says nothing."""

    def sent(self, done: int, size: int) -> None:
        """Nothing to say."""

    def got(self, done: dict[str, Any], records: int) -> None:
        """Nothing to say."""


class Lines:
    """Writes a line every few seconds, for logs and pipes."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _LINE_SECONDS

    def sent(self, done: int, size: int) -> None:
        """Say how much of the file is sent."""
        self._say(f"{done:,} of {size:,} bytes sent")

    def got(self, done: dict[str, Any], records: int) -> None:
        """Say how much of the file is in."""
        self._say(f"{done['rows']:,} of {records:,} rows read, {done['products']:,} products and "
                  f"{done['variants']:,} variants in, {done['refused_total']:,} rows refused")  # fmt: skip

    def _say(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECONDS
            note(text)


class Bars:
    """Moves a bar on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._sending: TaskID = progress.add_task("Sending the file", total=None)
        self._reading: TaskID | None = None

    def sent(self, done: int, size: int) -> None:
        """Move the bar of bytes."""
        self._progress.update(self._sending, completed=done, total=size)

    def got(self, done: dict[str, Any], records: int) -> None:
        """Move the bar of rows."""
        if self._reading is None:
            self._progress.update(self._sending, visible=False)
            self._reading = self._progress.add_task("Importing rows", total=records)
        self._progress.update(self._reading, completed=done["rows"])


class Records:
    """Counts the records of a CSV as its bytes go by: line ends that stand outside quotes."""

    def __init__(self) -> None:
        self._ends = 0
        self._quoted = False
        self._open = False

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        for part in chunk.splitlines(keepends=True):
            if part.count(b'"') % 2:
                self._quoted = not self._quoted
            self._open = not part.endswith(b"\n")
            if not self._open and not self._quoted:
                self._ends += 1

    @property
    def count(self) -> int:
        """Records so far, without the header."""
        return max(self._ends + self._open - 1, 0)


async def bring_in(
    client: Client, path: Path, currency: str | None, *, dry_run: bool = False, watcher: Watcher | None = None
) -> dict[str, Any]:
    """Send the file, wait for its import and give that as the API shows it.

    Raises:
        UltraMarketError: the file can't be read, or the platform can't be reached or refuses.
    """
    watcher = watcher or Silence()
    records = Records()
    with _opened(path) as (file, size):
        chunks = _chunks(file, size, records, watcher)
        latest = await client.start_import(chunks, size, currency, dry_run=dry_run)
    async for found in client.follow_import(latest["id"]):
        watcher.got(found, records.count)
        latest = found
    return latest


async def bring_in_watched(client: Client, path: Path, currency: str | None, *, dry_run: bool) -> dict[str, Any]:
    """`bring_in` with a progress bar on a terminal and lines elsewhere.

    Raises:
        UltraMarketError: as `bring_in`.
    """
    console = err()
    if not console.is_terminal:
        return await bring_in(client, path, currency, dry_run=dry_run, watcher=Lines())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        return await bring_in(client, path, currency, dry_run=dry_run, watcher=Bars(progress))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """The file and its size."""
    try:
        with path.open("rb") as file:
            yield file, path.stat().st_size
    except OSError as error:
        raise UltraMarketError(f"{path} can't be read: {error.strerror}.") from error


async def _chunks(file: IO[bytes], size: int, records: Records, watcher: Watcher) -> AsyncIterator[bytes]:
    done = 0
    while chunk := await asyncio.to_thread(file.read, CHUNK):
        records.feed(chunk)
        yield chunk
        done += len(chunk)
        watcher.sent(done, size)
