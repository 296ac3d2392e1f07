"""A parent and real processes: deaths, freezes, rolls, stops, and a port that always answers."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ultramarket.supervisor.supervision import End, Limits

Begin = Callable[..., Any]
ANXIOUS = Limits(grace_seconds=0.1, silence_seconds=2.0)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def raise_here(number: signal.Signals) -> None:
    """Send the parent a signal: it runs in this process."""
    os.kill(os.getpid(), number)


async def test_children_share_one_port(begin: Begin) -> None:
    family = await begin(replicas=3).until_ready()
    assert next(name for name, _ in family.born()) == "replica-1"
    assert sorted(name for name, _ in family.born()) == ["replica-1", "replica-2", "replica-3"]
    assert (await family.ask()).split()[0] in {"replica-1", "replica-2", "replica-3"}


async def test_a_killed_child_is_started_anew(begin: Begin) -> None:
    family = await begin(replicas=2).until_ready()
    killed = family.pid("replica-2")
    os.kill(killed, signal.SIGKILL)
    assert (await family.until_born(3))[-1][0] == "replica-2"
    assert family.pid("replica-2") != killed
    assert not is_alive(killed)


async def test_a_frozen_child_is_killed_and_started_anew(begin: Begin) -> None:
    family = await begin(replicas=2, limits=ANXIOUS).until_ready()
    frozen = family.pid("replica-1")
    os.kill(frozen, signal.SIGSTOP)
    assert (await family.until_born(3))[-1][0] == "replica-1"
    assert not is_alive(frozen)


async def test_a_roll_replaces_every_child_and_no_connection_fails(begin: Begin) -> None:
    family = await begin(replicas=2).until_ready()
    before = dict(family.born())
    answers: list[str] = []
    over = asyncio.Event()

    async def keep_asking() -> None:
        while not over.is_set():
            answers.append(await family.ask())

    asking = asyncio.create_task(keep_asking())
    raise_here(signal.SIGHUP)
    born = await family.until_born(4)
    while not {f"{name} {pid}" for name, pid in born[2:]} <= set(answers):
        assert not asking.done()
        await asyncio.sleep(0.01)
    over.set()
    await asking
    assert "" not in answers
    assert [name for name, _ in born[2:]] == ["replica-1", "replica-2"]
    assert not any(is_alive(pid) for pid in before.values())
    raise_here(signal.SIGTERM)
    assert await family.running == End(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_children(begin: Begin, number: signal.Signals) -> None:
    family = await begin(replicas=2).until_ready()
    raise_here(number)
    assert await family.running == End(0)
    assert not any(is_alive(pid) for _, pid in family.born())
    with pytest.raises(ConnectionRefusedError):
        await family.ask()


async def test_the_second_signal_kills_the_stubborn(begin: Begin) -> None:
    family = await begin(replicas=1, options=lambda _: ["--stubborn"]).until_ready()
    raise_here(signal.SIGTERM)
    await asyncio.sleep(0)
    raise_here(signal.SIGINT)
    assert await family.running == End(130)


async def test_two_more_signals_at_once_end_it_no_less(begin: Begin) -> None:
    family = await begin(replicas=1, options=lambda _: ["--stubborn"]).until_ready()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        raise_here(number)
    assert (await family.running).status in (130, 143)


async def test_that_nobody_hears_when_it_is_ready_changes_nothing(begin: Begin) -> None:
    family = begin(replicas=1)

    def announce() -> None:
        family.ready.set()
        raise BrokenPipeError

    family.parent._announce = announce
    await family.until_ready()
    assert await family.ask()
    raise_here(signal.SIGTERM)
    assert await family.running == End(0)


async def test_a_child_that_ignores_the_stop_is_killed_after_the_grace_period(begin: Begin) -> None:
    family = await begin(replicas=1, options=lambda _: ["--stubborn"], limits=ANXIOUS).until_ready()
    raise_here(signal.SIGTERM)
    assert await family.running == End(1)


async def test_a_child_that_cannot_live_ends_all(begin: Begin) -> None:
    limits = Limits(grace_seconds=5.0, restarts=1)
    family = begin(replicas=2, options=lambda post: ["--dies", "7"] if post.name == "replica-2" else [], limits=limits)
    end = await family.running
    assert end.status == 1
    assert end.reason.startswith("replica-2 can't live: it ended with status 7, after 1 restarts within 60 s.")
    assert [name for name, _ in family.born()] == ["replica-1", "replica-2", "replica-2"]
    assert not any(is_alive(pid) for _, pid in family.born())


async def test_a_command_that_is_not_there_ends_the_parent(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nothing")
    assert (await begin(replicas=1, limits=Limits(grace_seconds=5.0, restarts=0)).running).status == 1


async def test_a_fault_of_the_parent_ends_it_and_its_children(begin: Begin) -> None:
    family = await begin(replicas=1).until_ready()
    family.parent._supervision.heard = None  # the next ping finds no method
    with pytest.raises(TypeError):
        await family.running
