"""The log's lines of answered requests, written past the processors of all other lines.

Those cost as much as answering a small request. The lines come out the same: redacted, in the order of the answers, and
one loop iteration's worth in one write.
"""

import asyncio
import contextlib
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec
import structlog

from ultramarket.adapters.logs import cleaned_text, is_for_people
from ultramarket.ports.access_log import Access, AccessLog

LOGGER = "web.access"


def access_log(
    log_format: Literal["auto", "text", "json"], level: Literal["debug", "info", "warning", "error"],
    stream: TextIO | None = None,
) -> AccessLog:  # fmt: skip
    """What writes the lines of requests in this format; they are of level `info`.

    Args:
        log_format: as `ultramarket.adapters.logs.configure` takes it.
        level: the least that is logged.
        stream: where lines go; standard error if not given.
    """
    if level not in ("debug", "info"):
        return _nothing
    target = sys.stderr if stream is None else stream
    return through_structlog if is_for_people(log_format, target) else JsonLines(target)


def through_structlog(access: Access) -> None:
    """Write the line as any other: for people, and for tests that look at what is logged."""
    structlog.get_logger(LOGGER).info("request", **msgspec.structs.asdict(access))


class JsonLines:
    """Gathers the lines of one iteration of the event loop, and writes them at its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._answered: list[Access] = []
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, access: Access) -> None:
        """Write this line soon."""
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._write)
        self._answered.append(access)

    def _write(self) -> None:
        answered, self._answered = self._answered, []
        facts = {"level": "info", "logger": LOGGER, "timestamp": datetime.now(UTC)}
        end = f",{self._encode(facts)[1:].decode()}\n"
        lines = "".join([f'{{"event":"request",{self._fields(access)}{end}' for access in answered])
        with contextlib.suppress(OSError, ValueError):  # as for other lines: there is nowhere left to say so
            self._stream.write(lines)
            self._stream.flush()

    def _fields(self, access: Access) -> str:
        """The fields as JSON, without braces; what a client chose is cleaned like any other text."""
        text = self._encode(access).decode()[1:-1]
        if cleaned_text(text) != text:
            ids = {name: cleaned_text(value) for name, value in access.ids.items()}
            cleaned = msgspec.structs.replace(access, request=cleaned_text(access.request), ids=ids)
            text = self._encode(cleaned).decode()[1:-1]
        return text


def _nothing(_access: Access) -> None:
    """Below the level that is logged."""
