"""How long to wait before a process is started anew."""

from collections.abc import Callable

FIRST_SECONDS = 0.2
LAST_SECONDS = 10.0
_LARGEST_POWER = 10  # beyond it the longest delay is reached long since


def delay(restarts: int, random: Callable[[], float]) -> float:
    """Seconds until the next start: 0.2 doubled with each restart before, at most 10, of which half is by chance.

    Processes that died of one cause then don't come back in one moment.

    Args:
        restarts: how many there were lately.
        random: gives numbers from 0 to 1.
    """
    longest = min(LAST_SECONDS, FIRST_SECONDS * 2.0 ** min(restarts, _LARGEST_POWER))
    return longest * (0.5 + random() / 2)
