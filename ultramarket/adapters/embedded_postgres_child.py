"""Runs a command that dies with the process that asked for it. A script of its own: it imports nothing of the platform.

    embedded_postgres_child.py exec PARENT_PID COMMAND ...   becomes COMMAND; interrupted when its parent ends (Linux)
    embedded_postgres_child.py watch PID                     interrupts PID when standard input ends (macOS)

A signal of death asked for after the fork and before the exec is the only form that no kill -9 of the parent escapes;
a `preexec_fn` would run Python between fork and exec of a process that may have threads.
"""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def execute(parent: int, command: list[str]) -> None:
    """Becomes `command`; the kernel sends it SIGINT (PostgreSQL's fast shutdown) when the starting thread ends.

    Raises:
        OSError: the kernel refused the signal, or the command can't be run.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:  # the parent died before the signal was asked for: none will come
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the command is the launcher's own list, no shell


def watch(pid: int) -> None:
    """Waits for standard input to end, which it does at the latest when the parent dies, and then interrupts `pid`.

    A byte on standard input says that the parent has stopped `pid` itself.
    """
    if not sys.stdin.buffer.read(1):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


if __name__ == "__main__":
    if sys.argv[1] == "exec":
        execute(int(sys.argv[2]), sys.argv[3:])
    else:
        watch(int(sys.argv[2]))
