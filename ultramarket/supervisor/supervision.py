"""What a parent decides: who is started, killed, rolled and stopped, and when. Pure: time comes in, effects go out.

Whoever carries the effects out reports what happened: `heard`, `ready`, `died`, a signal, and `tick` at `wake_at`.
Times are seconds of a monotonic clock.
"""

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ultramarket.supervisor.backoff import LAST_SECONDS, delay
from ultramarket.supervisor.orders import Post
from ultramarket.supervisor.slot import Phase, Slot

FAILED = 1
WRONG_SETTING = 2
"""The exit status of a process that does not start with these settings: starting it anew would not help."""
_SPARE_SECONDS = 3.0
"""Beyond the grace period: a process that keeps it by itself needs two to see that it is over."""
_LATE_SECONDS = 1.0
"""A parent that wakes up so much too late was frozen itself, and its children perhaps with it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient the parent is, in seconds.

    Attributes:
        grace_seconds: for an orderly stop.
        first_ping_seconds: from the start of a process until its event loop turns.
        ready_seconds: from the start of a process until it does its work. A migration of many rows is run beforehand,
            with `ultramarket migrate`.
        silence_seconds: without a ping, and a process counts as frozen.
        restarts: so many within `window_seconds`; one more, and a process can't live.
    """

    grace_seconds: float
    first_ping_seconds: float = 60.0
    ready_seconds: float = 300.0
    silence_seconds: float = 3.0
    restarts: int = 5
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process in this place."""

    post: Post


@dataclass(frozen=True, slots=True)
class Send:
    """Send a signal to the process in this place."""

    post: Post
    number: signal.Signals


@dataclass(frozen=True, slots=True)
class Announce:
    """Say that all are ready; comes once."""


@dataclass(frozen=True, slots=True)
class Close:
    """Let go of the listening sockets: what comes from now on is refused, and not left unanswered."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log; the level is one of `logging`."""

    level: int
    text: str
    replica: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """Nobody is left: leave with this status. `reason` is a sentence where it is a failure."""

    status: int
    reason: str = ""


Effect = Spawn | Send | Announce | Close | Note | End


class Supervision:
    """The processes of a plan.

    Args:
        posts: the places, in the order in which they roll.
        limits: how patient the parent is.
        random: gives numbers from 0 to 1.
    """

    def __init__(self, posts: Sequence[Post], limits: Limits, random: Callable[[], float]) -> None:
        self._slots = {post.name: Slot(post) for post in posts}
        self._limits = limits
        self._random = random
        self._roll: list[Slot] = []
        self._announced = False
        self._stopping = False
        self._asked = False
        self._end = End(0)
        self._kill_at = 0.0
        self._second_half_at: float | None = None
        self._planned: float | None = None
        self._effects: list[Effect] = []

    def start(self, now: float) -> list[Effect]:
        """Start the first; the others follow when it is ready."""
        self._spawn(next(iter(self._slots.values())), now)
        return self._done(now)

    def heard(self, name: str, now: float) -> list[Effect]:
        """A process has pinged."""
        slot = self._slots[name]
        if slot.alive:
            if slot.phase is Phase.STARTING and slot.silent_at is None:
                slot.act_at = slot.ready_by
            slot.silent_at = now + self._limits.silence_seconds
        return self._done(now)

    def ready(self, name: str, now: float) -> list[Effect]:
        """A process does its work."""
        slot = self._slots[name]
        if slot.phase is Phase.STARTING:
            slot.enter(Phase.READY)
            slot.rolled = False
            for held in self._in(Phase.HELD):
                self._spawn(held, now)
            self._roll_on(now)
        return self._done(now)

    def died(self, name: str, status: int | None, now: float) -> list[Effect]:
        """A process has ended; the status is negative for a signal, and None if it could not even be started."""
        slot = self._slots[name]
        if self._stopping:
            self._ended(slot, status)
        elif slot.phase is Phase.STOPPING:
            self._spawn(slot, now)
            slot.rolled = True
        else:
            self._restart(slot, status, now)
        return self._done(now)

    def roll(self, now: float) -> list[Effect]:
        """Replace every process, one by one: the next is asked to stop when all are ready again."""
        if not self._stopping:
            self._note(logging.INFO, "rolling: every process is replaced, one by one")
            self._roll = list(self._slots.values())
            self._roll_on(now)
        return self._done(now)

    def stop(self, number: signal.Signals, now: float) -> list[Effect]:
        """End everything in order; asked for the second time, at once."""
        if self._asked:
            if not self._end.reason:
                self._end = End(128 + number)
            self._effects += [Send(slot.post, signal.SIGKILL) for slot in self._slots.values() if slot.alive]
        elif not self._stopping:
            self._note(logging.INFO, "stopping")
            self._stop(End(0), now)
        self._asked = True
        return self._done(now)

    def fail(self, reason: str, now: float) -> list[Effect]:
        """End everything in order, because of something that no restart mends."""
        if not self._stopping:
            self._stop(End(FAILED, reason), now)
        return self._done(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self._planned is not None and (late := now - self._planned) > _LATE_SECONDS:
            for slot in self._slots.values():
                slot.forgive(late, now + self._limits.silence_seconds)
        for slot in self._slots.values():
            if slot.silent_at is not None and slot.silent_at <= now:
                self._kill(slot, f"no sign of life for {self._limits.silence_seconds:g} s: killed")
            elif slot.act_at is not None and slot.act_at <= now:
                self._due(slot, now)
        if self._second_half_at is not None and self._second_half_at <= now:
            self._stop_actors(now)
        return self._done(now)

    def wake_at(self) -> float | None:
        """When something is due next."""
        moments = [m for slot in self._slots.values() for m in (slot.act_at, slot.silent_at) if m is not None]
        if self._second_half_at is not None:
            moments.append(self._second_half_at)
        self._planned = min(moments, default=None)
        return self._planned

    # Inside

    def _done(self, now: float) -> list[Effect]:
        if self._stopping:
            self._go_on_stopping(now)
        elif not self._announced and all(slot.phase is Phase.READY for slot in self._slots.values()):
            self._announced = True
            self._effects.append(Announce())
        done, self._effects = self._effects, []
        return done

    def _in(self, *phases: Phase) -> list[Slot]:
        return [slot for slot in self._slots.values() if slot.phase in phases]

    def _note(self, level: int, text: str, slot: Slot | None = None) -> None:
        self._effects.append(Note(level, text, "" if slot is None else slot.post.name))

    def _spawn(self, slot: Slot, now: float) -> None:
        slot.enter(Phase.STARTING, now + self._limits.first_ping_seconds)
        slot.ready_by = now + self._limits.ready_seconds
        self._effects.append(Spawn(slot.post))

    def _due(self, slot: Slot, now: float) -> None:
        match slot.phase:
            case Phase.WAITING:
                self._spawn(slot, now)
            case Phase.STARTING:
                limits = self._limits
                seconds = limits.first_ping_seconds if slot.silent_at is None else limits.ready_seconds
                self._kill(slot, f"not started within {seconds:g} s: killed")
            case _:
                self._kill(slot, "did not end within the grace period: killed")

    def _kill(self, slot: Slot, text: str) -> None:
        slot.act_at = slot.silent_at = None
        self._note(logging.ERROR, text, slot)
        self._effects.append(Send(slot.post, signal.SIGKILL))

    def _restart(self, slot: Slot, status: int | None, now: float) -> None:
        """Start a process that died anew, after a while, if that makes sense."""
        told = f"ended {_words(status)}"
        lately = slot.restarts_since(now - self._limits.window_seconds)
        hopeless = status == WRONG_SETTING or lately >= self._limits.restarts
        if hopeless and not (slot.rolled and self._in(Phase.READY)):
            slot.enter(Phase.ENDED)
            self._stop(self._given_up(slot, told, status), now)
            return
        seconds = delay(lately, self._random)
        if hopeless:
            # What was changed before the roll is at fault: those that run go on with what was before.
            self._note(logging.ERROR, "can't start since the roll, which ends here: the others stay as they are", slot)
            self._roll.clear()
            seconds = LAST_SECONDS
        else:
            slot.restarts.append(now)
        self._note(logging.ERROR, f"{told}: started anew in {seconds:.1f} s", slot)
        slot.enter(Phase.WAITING, now + seconds)

    def _given_up(self, slot: Slot, told: str, status: int | None) -> End:
        if status == WRONG_SETTING:
            return End(WRONG_SETTING, f"{slot.post.name} {told}, and starting it anew would not help.")
        limits = self._limits
        return End(
            FAILED,
            f"{slot.post.name} can't live: it {told}, after {limits.restarts} restarts within "
            f"{limits.window_seconds:g} s. Its log says why.",
        )

    def _roll_on(self, now: float) -> None:
        if self._roll and not self._stopping and all(slot.phase is Phase.READY for slot in self._slots.values()):
            self._terminate(self._roll.pop(0), now)

    def _terminate(self, slot: Slot, now: float) -> None:
        kill_at = now + self._limits.grace_seconds + _SPARE_SECONDS
        slot.enter(Phase.STOPPING, min(kill_at, self._kill_at) if self._stopping else kill_at)
        self._effects.append(Send(slot.post, signal.SIGTERM))

    def _stop(self, end: End, now: float) -> None:
        """Front ends first, because their requests still need those that have the actors."""
        self._stopping, self._end = True, end
        self._kill_at = now + self._limits.grace_seconds + _SPARE_SECONDS
        self._roll.clear()
        self._effects.append(Close())
        for slot in self._in(Phase.HELD, Phase.WAITING):
            slot.enter(Phase.ENDED)
        self._second_half_at = now + self._limits.grace_seconds / 2
        for slot in self._in(Phase.STARTING, Phase.READY):
            if not slot.post.role.has_actors:
                self._terminate(slot, now)

    def _stop_actors(self, now: float) -> None:
        self._second_half_at = None
        for slot in self._in(Phase.STARTING, Phase.READY):
            self._terminate(slot, now)

    def _ended(self, slot: Slot, status: int | None) -> None:
        slot.enter(Phase.ENDED)
        # A process that is told to stop before it listens to signals ends by the signal, which is in order.
        if status not in {0, -signal.SIGTERM}:
            self._note(logging.WARNING, f"ended {_words(status)}", slot)
            if self._end.status == 0:
                self._end = End(FAILED)

    def _go_on_stopping(self, now: float) -> None:
        if self._second_half_at is not None and not any(
            slot.alive and not slot.post.role.has_actors for slot in self._slots.values()
        ):
            self._stop_actors(now)
        if all(slot.phase is Phase.ENDED for slot in self._slots.values()):
            self._effects.append(self._end)


def _words(status: int | None) -> str:
    if status is None:
        return "before it began"
    if status >= 0:
        return f"with status {status}"
    return f"by {signal.Signals(-status).name}"
