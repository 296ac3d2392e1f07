"""One place of the plan and the process that fills it, as the supervision sees them."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from ultramarket.supervisor.orders import Post


class Phase(Enum):
    """How it stands with a place."""

    HELD = auto()
    """The first process is not ready yet: it alone brings the schema up to date and meets what is wrong for all."""
    WAITING = auto()
    """Empty until the backoff is over."""
    STARTING = auto()
    READY = auto()
    STOPPING = auto()
    ENDED = auto()
    """Empty for good."""


@dataclass(slots=True)
class Slot:
    """A place.

    Attributes:
        act_at: when to start it (waiting) or to kill it (stopping, or not started in time).
        ready_by: when to kill it if it pings and is not ready.
        silent_at: when it counts as frozen, unless a ping comes before; None before its first ping.
        restarts: when it was started anew lately after a death of its own.
        rolled: the roll started this process, and it was not ready yet.
    """

    post: Post
    phase: Phase = Phase.HELD
    act_at: float | None = None
    ready_by: float = 0.0
    silent_at: float | None = None
    restarts: deque[float] = field(default_factory=deque)
    rolled: bool = False

    @property
    def alive(self) -> bool:
        """Whether a process fills it."""
        return self.phase in {Phase.STARTING, Phase.READY, Phase.STOPPING}

    def enter(self, phase: Phase, act_at: float | None = None) -> None:
        """Go on to the next phase."""
        self.phase, self.act_at = phase, act_at
        if phase is Phase.STARTING or not self.alive:
            self.silent_at = None  # the pings were another process's

    def forgive(self, seconds: float, silent_at: float) -> None:
        """Let time that nobody lived through not count: what is due comes later, and so does the next ping."""
        self.ready_by += seconds
        if self.act_at is not None:
            self.act_at += seconds
        if self.silent_at is not None:
            self.silent_at = silent_at

    def restarts_since(self, moment: float) -> int:
        """How often it was started anew since then."""
        while self.restarts and self.restarts[0] < moment:
            self.restarts.popleft()
        return len(self.restarts)
