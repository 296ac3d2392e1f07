"""Named places where a test can make the process die; free of cost unless one is armed.

Arm one with `ULTRAMARKET_TEST_FAILPOINT=name` or `name:3` (the third time it is reached): the process kills itself
with SIGKILL there, as an operator, the kernel or a power cut would.
"""

import os
import signal

NAMES = (
    "commit.before",
    "commit.after",
    "answer.after",
    "outbox.before",
    "outbox.after",
    "gateway.before",
    "gateway.after",
    "timer.before",
    "take.after",
)
"""Every failpoint there is: around the commit, the answers, the hand-over of messages, the gateway call, the timers."""

_name, _, _count = os.environ.get("ULTRAMARKET_TEST_FAILPOINT", "").partition(":")
_left = int(_count or "1")

ARMED = bool(_name)
"""Whether any failpoint is armed; look at this first where every microsecond counts."""

if _name and _name not in NAMES:
    raise ValueError(f"unknown failpoint {_name!r}; there are: {', '.join(NAMES)}")


def failpoint(name: str) -> None:
    """Die here if this failpoint is armed and its count is reached."""
    global _left  # noqa: PLW0603 - a process dies once
    if not ARMED or name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
