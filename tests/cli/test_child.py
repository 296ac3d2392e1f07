"""The tie of a child to its parent."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from ultramarket.cli.child import Tie
from ultramarket.supervisor.orders import CHILD, ChildOrders, as_variable

PRELUDE = """
import asyncio, signal, sys, time
from ultramarket.cli.child import Tie
tie = Tie.taken()
"""


@pytest.fixture
def parent() -> Iterator[socket.socket]:
    """The parent's end of a channel; the variable names the other one."""
    ours, theirs = socket.socketpair()
    os.environ[CHILD] = as_variable(ChildOrders("replica-1", theirs.detach()))
    with ours:
        ours.settimeout(30)
        yield ours
    os.environ.pop(CHILD, None)


def run(script: str) -> tuple[subprocess.Popen[str], socket.socket]:
    """A child with that script, and the parent's end of its channel."""
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script],
            env=os.environ | {CHILD: as_variable(ChildOrders("replica-1", theirs.fileno()))},
            pass_fds=(theirs.fileno(),), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    ours.settimeout(30)
    return child, ours


def test_a_process_that_no_parent_started_has_no_tie() -> None:
    assert Tie.taken() is None


async def test_the_event_loop_pings_and_tells_that_it_is_ready(parent: socket.socket) -> None:
    tie = Tie.taken()
    assert tie is not None
    assert CHILD not in os.environ
    async with tie.pinging():
        await asyncio.sleep(0)
        tie.ready()
    assert parent.recv(10) == b".r"
    tie._channel.close()


async def test_a_parent_that_does_not_read_holds_up_nothing(parent: socket.socket) -> None:
    tie = Tie.taken()
    assert tie is not None
    tie._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for _ in range(10_000):
        tie.ready()
    assert parent.recv(1) == b"r"
    tie._channel.close()


def test_neither_the_channel_nor_the_port_is_inherited_further(parent: socket.socket) -> None:
    assert parent
    tie = Tie.taken()
    assert tie is not None
    assert not tie._channel.get_inheritable()
    tie._channel.close()


def test_a_child_whose_parent_is_gone_gets_the_signal_to_stop() -> None:
    child, channel = run(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\ntie.bind(60.0); tie.ready()\nwhile True: time.sleep(1)"
    )
    with channel:
        assert channel.recv(1) == b"r"
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, out + err
    assert "the parent is gone: stopping" in out + err


def test_a_child_that_hangs_ends_without_its_parent_after_the_grace_period() -> None:
    child, channel = run(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntie.bind(0.1); tie.ready()\nwhile True: time.sleep(1)"
    )
    with channel:
        assert channel.recv(1) == b"r"
    child.communicate(timeout=60)
    assert child.returncode == 1


def test_a_child_that_is_stopping_already_is_not_asked_twice() -> None:
    child, channel = run("tie.bind(60.0); tie.stopping(); tie.ready(); time.sleep(1)")
    with channel:
        assert channel.recv(1) == b"r"
    child.communicate(timeout=60)
    assert child.returncode == 0


def test_the_name_of_the_place_stands_in_every_line_of_the_log(parent: socket.socket) -> None:
    tie = Tie.taken()
    assert tie is not None
    tie.stopping()
    tie.bind(60.0)
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.clear_contextvars()
    parent.close()
    for thread in threading.enumerate():
        if thread.name == "parent":
            thread.join()
    tie._channel.close()
    assert bound == {"replica": "replica-1"}
