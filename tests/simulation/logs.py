"""What the product writes to its log in a world: an error that no fault of the world explains is a finding."""

import logging
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from tests.simulation.oracle import Oracle
from ultramarket.ports.journal import CommitBusy, Fenced
from ultramarket.runtime.owner import GivingUp

EXPECTED: dict[str, tuple[type[BaseException], ...]] = {
    "committer failed; taking the partitions anew": (Fenced, CommitBusy),
    "the runtime gives up": (GivingUp,),
    "gateway_failed": (ConnectionError,),
}
"""Errors that are logged on purpose when the world does its worst, each with what may have caused it."""


class Log:
    """Where the log of the world that runs just now goes."""

    def __init__(self) -> None:
        self.oracle: Oracle | None = None
        self.say: Callable[[str], None] | None = None

    def install(self, *, trace: bool) -> None:
        """Take the log of this process."""
        level = logging.WARNING if trace else logging.ERROR
        structlog.configure(
            processors=[self._process],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=True,
        )

    def _process(self, _logger: Any, method: str, entry: MutableMapping[str, Any]) -> Any:
        event, error = str(entry.pop("event", "")), entry.pop("exc_info", None)
        details = " ".join(f"{name}={value}" for name, value in entry.items())
        if self.say is not None:
            self.say(f"log: {event} {details} {error if isinstance(error, BaseException) else ''}".rstrip())
        if self.oracle is not None and method in ("error", "exception", "critical"):
            if isinstance(error, bool):
                error = None
            expected = EXPECTED.get(event)
            if expected is None or (error is not None and not isinstance(error, expected)):
                self.oracle.fault(f"logged: {event} {details} {error!r}")
        raise structlog.DropEvent


LOG = Log()
