"""A system clock that is wrong, for one process: the time of day of libfaketime, and the monotonic clock as it is."""

import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from scripts.benchmarks.shop import ROOT
from tests.e2e.shopper import Shopper

_LIBRARY = "libfaketime.so.1"
_PLACES = ("/usr/lib", "/usr/local/lib", "/opt")
_INSTALL = 'source "$0" && apt_install libfaketime'


class NoClock(Exception):
    """There is no libfaketime, and none could be installed."""


def library() -> Path:
    """The library, which is installed where we may and it is not there.

    Raises:
        NoClock: there is none.
    """
    if shutil.which("bash") and _found() is None:
        command = ("bash", "-c", _INSTALL, str(ROOT / "scripts" / "environment"))
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - a list of our own
    found = _found()
    if found is None:
        raise NoClock(f"there is no {_LIBRARY}: install Debian's package libfaketime")
    return found


class WrongClock:
    """The clock of one process.

    Args:
        file: where it stands how wrong the clock is; may change while the process runs.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def settings(self, library: Path) -> Mapping[str, str]:
        """What makes a process that is started with it follow this clock."""
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Put it so many seconds ahead of the true time, or behind it; the process sees it a second later."""
        self._file.write_text(f"{seconds:+d}\n", "ascii")


async def ahead(client: Shopper) -> float:
    """How many seconds the clock of a process is ahead of ours, by the header `Date` of its answers."""
    answer = await client.call("GET", "/health/live")
    return (parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)).total_seconds()


def _found() -> Path | None:
    return next((found for place in _PLACES for found in sorted(Path(place).rglob(_LIBRARY))), None)
