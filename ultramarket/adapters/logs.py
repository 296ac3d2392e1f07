"""Logs: structlog for our own lines and the libraries' alike, without a secret or a person in them.

A line has `event` (a fixed sentence), `level`, `timestamp` (RFC 3339, UTC), `logger`, what `structlog.contextvars`
holds (`request`, `trace`, `entity`) and its own fields. People's format on a terminal, JSON lines otherwise.
"""

import contextlib
import functools
import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ultramarket.adapters.secrets import STAFF_KEY_PREFIX

REDACTED = "[redacted]"

# A field is private if one of these is a whole word of its name, cut at `_`, `-` and capitals: `billing_email` and
# `X-Api-Key` are hit, `keyboard` is not.
_PRIVATE_WORDS = frozenset({
    *("authorization", "cookie", "password", "passwd", "secret", "token", "key", "keys", "credential", "credentials"),
    *("dsn", "signature", "card", "cvc", "iban", "sealed", "body", "ip", "remote"),
    *("email", "mail", "phone", "address", "line1", "line2", "city", "postal", "postcode", "zip"),
    *("firstname", "lastname", "surname", "fullname", "recipient"),
})  # fmt: skip
# `name` alone is a person's; `app_name` or `view_name` is not.
_PRIVATE_NAMES = frozenset({"name", "first_name", "last_name", "full_name", "user_name", "customer_name"})

_PRIVATE_TEXT = re.compile(
    "|".join((
        rf"{STAFF_KEY_PREFIX}[\w-]+",  # a staff key
        r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)",  # user and password of a URL
        r"(?i:(?<=bearer )|(?<=basic ))[\w.~+/=-]+",  # the value of an Authorization header
        r"[\w.!#$%&'*+/=?^`{|}~-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+",  # an e-mail address, also in a URL
        r"(?<![\w.:-])\+\d[\d ()/-]{6,}\d",  # a phone number in international form
    ))
)  # fmt: skip
_MARK = re.compile(rf"{STAFF_KEY_PREFIX}|://|[ @+]|%40")
"""Every text that the pattern finds holds one of these; the value of an Authorization header follows a space."""

_NOISE = {"aiohttp.access": logging.WARNING, "asyncio": logging.WARNING}
"""Loggers of libraries whose ordinary lines say nothing that ours don't."""


def configure(log_format: Literal["auto", "text", "json"], level: str, stream: TextIO | None = None) -> None:
    """Sets up the logs of this process; a second call replaces the first.

    Args:
        log_format: `text` for people, `json` for machines, `auto`: text if the stream is a terminal.
        level: the least that is logged: debug, info, warning or error.
        stream: where lines go; standard error if not given.
    """
    target = sys.stderr if stream is None else stream
    text = is_for_people(log_format, target)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # Tracebacks become text before the redaction, which then sees them too.
    last: list[Processor] = [structlog.processors.format_exc_info, redact]
    if text:
        last.append(structlog.dev.ConsoleRenderer(colors=target.isatty()))
    else:
        last.append(structlog.processors.JSONRenderer(serializer=_json))
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    structlog.configure(
        processors=[*shared, *last],
        # Straight to the stream: a record of the standard library for each request would cost as much as its answer.
        logger_factory=lambda *names: _Lines(target, *names),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=False,  # modules make their loggers before the settings are known
    )
    # No line shows them, and looking them up for each costs more than the rest of a record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _NOISE.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)


def is_for_people(log_format: Literal["auto", "text", "json"], stream: TextIO) -> bool:
    """Whether lines are written for people, not for machines."""
    return log_format == "text" or (log_format == "auto" and stream.isatty())


class _Lines:
    """Writes finished lines to a stream, each at once and whole.

    Attributes:
        name: of the logger, for `add_logger_name`.
    """

    def __init__(self, stream: TextIO, name: str = "") -> None:
        self._stream = stream
        self.name = name

    def write(self, line: str) -> None:
        """Write a line. Where the stream fails, e.g. on a full disk, the request that is logged must not fail too."""
        with contextlib.suppress(OSError, ValueError):  # and there is nowhere left to say so
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last processor before a line is written: takes secrets and personal data out of names and values."""
    return {key: _cleaned_field(key, value) for key, value in event.items()}


def _cleaned_field(key: str, value: Any) -> Any:
    return REDACTED if value is not None and _is_private(key) else _cleaned(value)


@functools.lru_cache(maxsize=1024)
def _is_private(key: str) -> bool:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    return name in _PRIVATE_NAMES or not _PRIVATE_WORDS.isdisjoint(name.split("_"))


def _cleaned(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return cleaned_text(value)
    if isinstance(value, Mapping):
        return {str(key): _cleaned_field(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(inner) for inner in value]
    if isinstance(value, BaseException):
        return _cleaned(f"{type(value).__name__}: {value}")
    # Whatever else it is would be written with its repr, which may hold anything: its type is enough.
    return _plain(value)


def cleaned_text(text: str) -> str:
    """The text without secrets and personal data."""
    # Most texts hold none of the marks that every private one has: that is seen far faster than with the pattern.
    return _PRIVATE_TEXT.sub(REDACTED, text) if _MARK.search(text) else text


def _json(event: EventDict, **_: Any) -> str:
    """The line as JSON; a lone surrogate is written as its escape, and a huge number with all its digits."""
    try:
        return msgspec.json.encode(event, enc_hook=_plain).decode()
    except (UnicodeEncodeError, OverflowError):
        return json.dumps(event, default=_plain)


def _plain(value: Any) -> str:
    """Text for what JSON does not know: things that print as one plain word do so, all else tells its type alone."""
    text = str(value)
    return _PRIVATE_TEXT.sub(REDACTED, text) if re.fullmatch(r"[\w.:+/-]{1,200}", text) else f"<{type(value).__name__}>"
