"""What a parent decides, with a clock of the test's own."""

import signal
from signal import SIGINT, SIGKILL, SIGTERM

from ultramarket.supervisor.orders import posts
from ultramarket.supervisor.supervision import Announce, Close, Effect, End, Limits, Note, Send, Spawn, Supervision

LIMITS = Limits(grace_seconds=20.0)


class World:
    """A supervision, the time, and the processes that it believes to run."""

    def __init__(self, replicas: int = 2, workers: int = 0, web: int = 0) -> None:
        self.now = 100.0
        plan = posts(replicas=replicas, workers=workers, web=web)
        self.post = {post.name: post for post in plan}
        self.machine = Supervision(plan, LIMITS, lambda: 1.0)
        self.notes: list[str] = []
        self.first = self.take(self.machine.start(self.now))

    def take(self, effects: list[Effect]) -> list[Effect]:
        """The effects without the lines of the log, which are kept aside."""
        self.notes += [f"{one.replica}: {one.text}" for one in effects if isinstance(one, Note)]
        return [one for one in effects if not isinstance(one, Note)]

    def heard(self, *names: str) -> None:
        for name in names:
            assert self.take(self.machine.heard(name, self.now)) == []

    def ready(self, name: str) -> list[Effect]:
        self.heard(name)
        return self.take(self.machine.ready(name, self.now))

    def died(self, name: str, status: int | None) -> list[Effect]:
        return self.take(self.machine.died(name, status, self.now))

    def stop(self, number: signal.Signals = SIGTERM) -> list[Effect]:
        return self.take(self.machine.stop(number, self.now))

    def roll(self) -> list[Effect]:
        return self.take(self.machine.roll(self.now))

    def wait(self, seconds: float, *, pinging: tuple[str, ...] = ()) -> list[Effect]:
        """Let time go by; what is due is done when it is due."""
        end = self.now + seconds
        done: list[Effect] = []
        while self.now < end:
            at = self.machine.wake_at()
            self.now = min(end, self.now + 0.5, max(at, self.now) if at is not None else end)
            self.heard(*pinging)
            if at is not None and at <= self.now:
                done += self.take(self.machine.tick(self.now))
        return done

    def all_ready(self) -> "World":
        for name in self.post:
            self.ready(name)
        return self

    def spawn(self, name: str) -> Spawn:
        return Spawn(self.post[name])

    def send(self, name: str, number: signal.Signals) -> Send:
        return Send(self.post[name], number)


def test_the_others_start_when_the_first_is_ready_and_then_it_is_announced_once() -> None:
    world = World(replicas=3)
    assert world.first == [world.spawn("replica-1")]
    assert world.ready("replica-1") == [world.spawn("replica-2"), world.spawn("replica-3")]
    assert world.ready("replica-3") == []
    assert world.ready("replica-2") == [Announce()]
    world.died("replica-2", -9)
    assert world.wait(0.2, pinging=("replica-1", "replica-3")) == [world.spawn("replica-2")]
    assert world.ready("replica-2") == []


def test_a_process_that_died_is_started_anew_after_a_delay_that_grows() -> None:
    world = World(replicas=1).all_ready()
    for seconds in (0.2, 0.4, 0.8):
        assert world.died("replica-1", -9) == []
        assert world.wait(seconds - 0.01) == []
        assert world.wait(0.02) == [world.spawn("replica-1")]
        world.ready("replica-1")
    assert world.notes[-1] == "replica-1: ended by SIGKILL: started anew in 0.8 s"


def test_after_five_restarts_within_a_minute_the_sixth_death_ends_all() -> None:
    world = World(replicas=2).all_ready()
    for _ in range(5):
        assert world.died("replica-1", 1) == []
        assert world.spawn("replica-1") in world.wait(4.0, pinging=("replica-2",))
    assert world.died("replica-1", 1) == [Close(), world.send("replica-2", SIGTERM)]
    assert world.died("replica-2", 0) == [
        End(
            1,
            "replica-1 can't live: it ended with status 1, after 5 restarts within 60 s. Its log says why.",
        )
    ]


def test_restarts_that_lie_longer_back_do_not_count() -> None:
    world = World(replicas=1).all_ready()
    for _ in range(20):
        assert world.died("replica-1", -9) == []
        assert world.spawn("replica-1") in world.wait(4.0)
        world.ready("replica-1")
        assert world.wait(12.0, pinging=("replica-1",)) == []


def test_a_wrong_setting_ends_all_at_once_with_status_2() -> None:
    world = World(replicas=2)
    assert world.died("replica-1", 2) == [
        Close(),
        End(2, "replica-1 ended with status 2, and starting it anew would not help."),
    ]


def test_a_process_that_the_system_refuses_is_tried_again() -> None:
    world = World(replicas=1)
    assert world.died("replica-1", None) == []
    assert world.wait(0.2) == [world.spawn("replica-1")]
    assert world.notes == ["replica-1: ended before it began: started anew in 0.2 s"]


def test_a_process_that_is_silent_for_three_seconds_is_killed_and_started_anew() -> None:
    world = World(replicas=2).all_ready()
    assert world.wait(2.9, pinging=("replica-1",)) == []
    assert world.wait(0.2, pinging=("replica-1",)) == [world.send("replica-2", SIGKILL)]
    assert world.died("replica-2", -9) == []
    assert world.wait(0.2, pinging=("replica-1",)) == [world.spawn("replica-2")]


def test_before_its_first_ping_a_process_may_be_silent_for_a_minute() -> None:
    world = World(replicas=1)
    assert world.wait(59.9) == []
    assert world.wait(0.2) == [world.send("replica-1", SIGKILL)]


def test_a_process_that_pings_may_take_five_minutes_to_be_ready() -> None:
    world = World(replicas=1)
    world.heard("replica-1")
    assert world.wait(299.9, pinging=("replica-1",)) == []
    assert world.wait(0.2, pinging=("replica-1",)) == [world.send("replica-1", SIGKILL)]
    assert world.notes == ["replica-1: not started within 300 s: killed"]


def test_a_parent_that_was_frozen_with_its_children_gives_them_time_to_ping() -> None:
    world = World(replicas=2).all_ready()
    world.machine.wake_at()
    world.now += 3600.0
    assert world.take(world.machine.tick(world.now)) == []
    assert world.wait(2.0, pinging=("replica-1",)) == []
    assert world.wait(1.5, pinging=("replica-1",)) == [world.send("replica-2", SIGKILL)]


def test_a_roll_replaces_one_after_the_other_and_waits_until_each_is_ready() -> None:
    world = World(replicas=2).all_ready()
    assert world.roll() == [world.send("replica-1", SIGTERM)]
    assert world.died("replica-1", 0) == [world.spawn("replica-1")]
    assert world.wait(5.0, pinging=("replica-1", "replica-2")) == []
    assert world.ready("replica-1") == [world.send("replica-2", SIGTERM)]
    assert world.died("replica-2", 0) == [world.spawn("replica-2")]
    assert world.ready("replica-2") == []


def test_a_process_that_a_roll_starts_may_be_silent_before_its_first_ping_as_any_other() -> None:
    world = World(replicas=2).all_ready()
    world.roll()
    assert world.died("replica-1", 0) == [world.spawn("replica-1")]
    assert world.wait(59.9, pinging=("replica-2",)) == []
    assert world.ready("replica-1") == [world.send("replica-2", SIGTERM)]


def test_a_roll_waits_for_a_place_that_is_empty() -> None:
    world = World(replicas=2).all_ready()
    world.died("replica-2", -9)
    assert world.roll() == []
    assert world.wait(0.2, pinging=("replica-1",)) == [world.spawn("replica-2")]
    assert world.ready("replica-2") == [world.send("replica-1", SIGTERM)]


def test_a_roll_during_a_roll_begins_from_the_front() -> None:
    world = World(replicas=2).all_ready()
    world.roll()
    assert world.roll() == []
    world.died("replica-1", 0)
    assert world.ready("replica-1") == [world.send("replica-1", SIGTERM)]


def test_a_process_that_does_not_end_in_a_roll_is_killed_after_the_grace_period() -> None:
    world = World(replicas=2).all_ready()
    world.roll()
    assert world.wait(22.9, pinging=("replica-1", "replica-2")) == []
    assert world.wait(0.2, pinging=("replica-1", "replica-2")) == [world.send("replica-1", SIGKILL)]
    assert world.died("replica-1", -9) == [world.spawn("replica-1")]


def test_a_roll_that_brings_a_process_that_cannot_start_ends_and_the_others_go_on() -> None:
    world = World(replicas=2).all_ready()
    world.roll()
    world.died("replica-1", 0)
    assert world.died("replica-1", 2) == []
    assert world.notes[-2:] == [
        "replica-1: can't start since the roll, which ends here: the others stay as they are",
        "replica-1: ended with status 2: started anew in 10.0 s",
    ]
    assert world.wait(9.9, pinging=("replica-2",)) == []
    assert world.wait(0.2, pinging=("replica-2",)) == [world.spawn("replica-1")]
    assert world.ready("replica-1") == []  # replica-2 is not rolled any more


def test_a_roll_of_the_only_process_that_then_cannot_live_ends_the_parent() -> None:
    world = World(replicas=1).all_ready()
    world.roll()
    world.died("replica-1", 0)
    assert [type(effect) for effect in world.died("replica-1", 2)] == [Close, End]


def test_a_stop_ends_all_and_lets_go_of_the_sockets_first() -> None:
    world = World(replicas=2).all_ready()
    assert world.stop() == [Close(), world.send("replica-1", SIGTERM), world.send("replica-2", SIGTERM)]
    assert world.died("replica-2", 0) == []
    assert world.died("replica-1", -SIGTERM) == [End(0)]


def test_front_ends_stop_before_those_that_have_the_actors() -> None:
    world = World(replicas=0, workers=1, web=2).all_ready()
    assert world.stop() == [Close(), world.send("web-1", SIGTERM), world.send("web-2", SIGTERM)]
    assert world.died("web-1", 0) == []
    assert world.died("web-2", 0) == [world.send("worker-1", SIGTERM)]
    assert world.died("worker-1", 0) == [End(0)]


def test_front_ends_have_half_of_the_grace_period_before_the_others_stop_too() -> None:
    world = World(replicas=0, workers=1, web=1).all_ready()
    world.stop()
    assert world.wait(9.9, pinging=("web-1", "worker-1")) == []
    assert world.wait(0.2, pinging=("web-1", "worker-1")) == [world.send("worker-1", SIGTERM)]
    killed = world.wait(13.0, pinging=("web-1", "worker-1"))
    assert killed == [world.send("worker-1", SIGKILL), world.send("web-1", SIGKILL)]
    world.died("web-1", -9)
    assert world.died("worker-1", -9) == [End(1)]


def test_the_second_signal_kills() -> None:
    world = World(replicas=2).all_ready()
    world.stop()
    assert world.stop(SIGINT) == [world.send("replica-1", SIGKILL), world.send("replica-2", SIGKILL)]
    world.died("replica-1", -9)
    assert world.died("replica-2", -9) == [End(130)]


def test_a_stop_before_all_have_started_starts_no_more() -> None:
    world = World(replicas=3)
    assert world.stop() == [Close(), world.send("replica-1", SIGTERM)]
    assert world.machine.ready("replica-1", world.now) == []
    assert world.died("replica-1", 0) == [End(0)]


def test_a_stop_while_a_place_waits_for_its_process_starts_it_no_more() -> None:
    world = World(replicas=1).all_ready()
    world.died("replica-1", -9)
    assert world.stop() == [Close(), End(0)]


def test_a_stop_during_a_roll_waits_for_the_one_that_stops_already() -> None:
    world = World(replicas=2).all_ready()
    world.roll()
    assert world.stop() == [Close(), world.send("replica-2", SIGTERM)]
    assert world.died("replica-1", 0) == []
    assert world.roll() == []
    assert world.died("replica-2", 0) == [End(0)]


def test_a_failure_of_what_all_need_ends_all_with_its_reason() -> None:
    world = World(replicas=1).all_ready()
    effects = world.take(world.machine.fail("The database ended by itself.", world.now))
    assert effects == [Close(), world.send("replica-1", SIGTERM)]
    assert world.take(world.machine.fail("Again.", world.now)) == []
    assert world.stop() == []  # the first wish to stop finds it stopping
    assert world.stop() == [world.send("replica-1", SIGKILL)]
    assert world.died("replica-1", -9) == [End(1, "The database ended by itself.")]


def test_a_process_that_dies_instead_of_stopping_makes_the_end_a_failure() -> None:
    world = World(replicas=1).all_ready()
    world.stop()
    assert world.died("replica-1", 1) == [End(1)]
    assert world.notes[-1] == "replica-1: ended with status 1"


def test_a_frozen_process_does_not_hold_up_the_stop() -> None:
    world = World(replicas=1).all_ready()
    world.stop()
    assert world.wait(3.1) == [world.send("replica-1", SIGKILL)]


def test_there_is_nothing_to_wake_up_for_where_nothing_is_due() -> None:
    world = World(replicas=1)
    assert world.machine.wake_at() == 160.0
    world.stop()
    world.died("replica-1", 0)
    assert world.machine.wake_at() is None
