"""An event loop with virtual time, in which the processes of a simulated world take turns as a seed decides.

Inside one process callbacks run first in, first out, as asyncio promises; which process runs next is drawn. A callback
belongs to the process that its context names; what has none belongs to the world. When nothing is ready, time jumps to
the next timer: there is no waiting, no thread and no socket.
"""

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

Result = TypeVar("Result")


class Killed(BaseException):
    """The process that runs was killed: nothing of it catches this, and nothing of it runs any more."""


class Stuck(Exception):
    """The world can't go on: a deadlock, or more steps than any world takes."""


class Process:
    """What can be killed or frozen as a whole.

    Attributes:
        frozen: its callbacks and timers wait until it is thawed, and run late then.
        alive: False: its callbacks never run again, not even `finally` blocks.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.alive = True
        self.ready: deque[Step] = deque()

    def context(self) -> Context:
        """A new context whose callbacks, tasks and timers belong to this process."""
        context = Context()
        context.run(PROCESS.set, self)
        return context


PROCESS: ContextVar[Process] = ContextVar("process")


class Step(asyncio.TimerHandle):
    """A callback of a process, ready now or at a time."""

    __slots__ = ("at", "callback", "context", "dropped", "parameters", "process")

    # The base class would look at the loop's debug mode and keep its own copies.
    def __init__(  # pylint: disable=super-init-not-called
        self, process: Process, callback: Callable[..., Any], parameters: tuple[Any, ...], context: Context, at: float
    ) -> None:
        self.process = process
        self.callback = callback
        self.parameters = parameters
        self.context = context
        self.at = at
        self.dropped = False

    def cancel(self) -> None:
        """Never run."""
        self.dropped = True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.dropped

    def when(self) -> float:
        """The time of the loop at which it is due."""
        return self.at

    def __repr__(self) -> str:
        return f"<Step of {self.process.name} at {self.at}: {self.callback}>"


class NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set follows from its number, not from where it lies in memory.

    Attributes:
        process: whose it is.
    """

    def __init__(self, number: int, process: Process, *args: Any, **options: Any) -> None:
        self._number = number
        self.process = process
        super().__init__(*args, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs all processes of a world.

    Args:
        random: picks the process that runs next.

    Attributes:
        steps: callbacks that ran.
        before: called before each step, e.g. to make a process die between two of its steps.
        errors: what callbacks raised, and tasks with an exception that nobody looked at.
    """

    def __init__(self, random: Random) -> None:
        self.steps = 0
        self.before: Callable[[Process], None] = lambda _: None
        self.errors: list[str] = []
        self.world = Process("world")
        self._random = random
        self._processes = [self.world]
        self._now = 0.0
        self._timers: list[tuple[float, int, Step]] = []
        self._made = 0
        self._tasks: list[NumberedTask] = []
        self._untold: set[NumberedTask] = set()
        self._closed = False

    # Processes

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(name)
        self._processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """End a process, wherever it is. Its tasks stay in memory, so that nothing of them is closed meanwhile."""
        process.alive = False
        if process.ready:  # who was about to run may have waited for the end of any of its tasks
            self._untold.update(each for each in self._tasks if each.process is process and each.done())
        process.ready.clear()
        if process in self._processes:
            self._processes.remove(process)

    def run(self, main: Coroutine[Any, Any, Result], most_steps: int) -> Result:
        """Run the world until its main coroutine ends.

        Raises:
            Stuck: a deadlock or a livelock.
        """
        events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
                if self.steps > most_steps:
                    raise Stuck(f"livelock: {most_steps} steps, and no end at {self._now:.3f} s")
            result: Result = task.result()
            return result
        finally:
            events._set_running_loop(None)

    def _step(self) -> None:
        runnable = [process for process in self._processes if process.ready and not process.frozen]
        if not runnable:
            self._advance()
            return
        process = runnable[0] if len(runnable) == 1 else runnable[int(self._random.random() * len(runnable))]
        self.before(process)
        if not process.alive or process.frozen:
            return
        step = process.ready.popleft()
        if step.dropped:
            return
        self.steps += 1
        try:
            step.context.run(step.callback, *step.parameters)
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - a callback's fault is the world's finding
            self.errors.append(f"{process.name}: a callback raised {error!r}")

    def _advance(self) -> None:
        """Go to the next timer and make everything ready that is due then."""
        if not self._timers:
            raise Stuck(f"deadlock: nothing is ready and no timer is set at {self._now:.3f} s")
        self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            step = heapq.heappop(self._timers)[2]
            if not step.dropped and step.process.alive:
                step.process.ready.append(step)

    def unheard(self) -> list[str]:
        """The errors of tasks that nobody asked about, deaths of processes aside."""
        ended = [t for t in self._tasks if t.done() and not t.cancelled() and t not in self._untold]
        failed = [task for task in ended if task._log_traceback and not isinstance(task.exception(), Killed)]  # type: ignore[attr-defined]  # what asyncio itself looks at
        return [f"a task ended with {task.exception()!r}: {task.get_name()}" for task in failed]

    def close(self) -> None:
        """Nothing runs any more; what still waits stays in memory as long as the world does."""
        self._closed = True
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # they were left behind on purpose

    # What asyncio asks of a loop

    def time(self) -> float:
        """Virtual seconds since the world began."""
        return self._now

    def call_soon(  # type: ignore[override]  # typeshed's is generic in the arguments
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Step:
        """Run next in this process, after what is ready already."""
        if context is None:
            context = copy_context()
        process = context.get(PROCESS, self.world)
        step = Step(process, callback, args, context, self._now)
        if process.alive and not self._closed:
            process.ready.append(step)
        return step

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Step:
        """Run after so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Step:
        """Run at that time."""
        if context is None:
            context = copy_context()
        step = Step(context.get(PROCESS, self.world), callback, args, context, when)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, step))
        return step

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        """A task of the process that the context names."""
        self._made += 1
        process = PROCESS.get(self.world) if context is None else context.get(PROCESS, self.world)
        task = NumberedTask(self._made, process, coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, while anybody can ask."""
        return not self._closed

    def is_closed(self) -> bool:
        """Whether the world is over."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Something went wrong behind everybody's back; only a task that could still have been asked counts."""
        task = context.get("future")
        if not self._closed and isinstance(task, NumberedTask) and task.process.alive:
            self.errors.append(f"{context.get('message')}: {context.get('exception')!r} {task!r}")
