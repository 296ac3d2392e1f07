"""A turn: what is judged, what fails alone, what waits behind a failure, and that the log says it all."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.toys import (
    Add,
    Break,
    Echo,
    Fill,
    Free,
    Give,
    Hear,
    Look,
    Own,
    Put,
    SetWake,
    Tell,
    Toy,
    ToyPart,
    ToyState,
)
from ultramarket.errors import Rejection, Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.asking import Answer
from ultramarket.ports.journal import DROP, KEEP, EventRow, Loaded, StoredEntity
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.codec import ANSWER_LIMIT, STATE_LIMIT, Chain, KindCodec, encode_answer
from ultramarket.runtime.memory import Entity
from ultramarket.runtime.rebuild import rebuild
from ultramarket.runtime.turn import Judge, Keep, Turn, Unreadable, replay

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOY = Toy()
CODECS = {"toy": KindCodec(TOY)}


def client(command: Any, key: str | None = None, deadline: float | None = None) -> Delivery:
    return Delivery("toy", 0, "a", command, "staff", "trace", key or "c", key=key, body_hash=b"h", deadline=deadline)


def sent(command: Any, name: str, source: str = "toy:s", *, verified: bool = True) -> Delivery:
    return Delivery("toy", 0, "a", command, source, "t", name, message=name, source=source, verified=verified)


def judge(*deliveries: Delivery, entity: Entity | None = None, loaded: Loaded | None = None, **rest: Any) -> Turn:
    judge_ = Judge(TOY, CODECS, entity or Entity(), "a", 0, NOON, **rest)
    for delivery in deliveries:
        judge_.take(delivery, loaded or Loaded())
    return judge_.finish()


def codes(turn: Turn) -> list[str | None]:
    return [
        answer.code if isinstance(answer, Unavailable) else getattr(getattr(answer, "rejection", None), "code", None)
        for _, answer, _ in turn.answers
    ]


def test_commands_of_a_turn_see_each_other() -> None:
    turn = judge(client(Add(n=2)), client(Give(to="b", n=3)), client(Add(n=5)), client(Give(to="b", n=3)))
    assert codes(turn) == [None, "poor", None, None]
    assert turn.entity.state == ToyState(total=4)
    assert (turn.rows.before, turn.rows.version, turn.entity.version) == (0, 3, 3)
    assert [row.type for row in turn.rows.events] == ["Added", "Added", "Given"]
    assert [(row.message, row.kind, row.id) for row in turn.rows.outbox] == [("toy/a/3/0", "toy", "b")]


def test_numbering_gives_seqs_and_tokens() -> None:
    turn = judge(client(Look()), client(Add()), client(Give(to="b", n=9)), client(Look()), client(Add(), key="k"))
    assert turn.number(40) == 42
    assert [row.seq for row in turn.rows.events] == [41, 42]
    answers = [answer for _, answer, _ in turn.answers if isinstance(answer, Answer)]
    assert [answer.token for answer in answers] == [None, "toy.00@41", None, "toy.00@41", "toy.00@42"]
    assert [answer.version for answer in answers] == [0, 1, 1, 1, 2]
    assert [row.command for row in turn.rows.replies] == ["k"]
    replayed = replay((b"h", turn.rows.replies[0].reply), b"h")
    assert replayed == Answer({"total": 2}, None, "toy.00@42", replayed=True, version=2)


def test_a_refusal_alone_writes_its_reply_and_touches_no_entity() -> None:
    turn = judge(client(Give(to="b", n=1), key="k"))
    assert (turn.rows.version, turn.rows.events, turn.rows.state) == (0, [], "")
    assert turn.writes() is True
    turn.number(0)
    assert len(turn.rows.replies) == 1
    assert judge(client(Give(to="b", n=1))).writes() is False


def test_a_stored_reply_is_given_again_and_another_body_refused() -> None:
    loaded = Loaded(replies={("toy", "a", "k"): (b"h", encode_answer(Answer({"x": 1}, version=3)))})
    turn = judge(client(Add(), key="k"), loaded=loaded)
    assert turn.answers[0][1] == Answer({"x": 1}, replayed=True, version=3)
    assert turn.writes() is False
    loaded.replies["toy", "a", "k"] = (b"other", "")
    assert codes(judge(client(Add(), key="k"), loaded=loaded)) == ["idempotency_key_reused"]


def test_a_refused_reuse_of_a_key_is_not_stored_over_the_first_answer() -> None:
    loaded = Loaded(replies={("toy", "a", "k"): (b"other", encode_answer(Answer(1)))})
    turn = judge(client(Add(), key="k"), loaded=loaded)
    turn.number(0)
    assert turn.rows.replies == []


def test_a_command_past_its_deadline_is_refused_unless_it_was_answered_before() -> None:
    past = NOON.timestamp() - 0.001
    assert codes(judge(client(Add(), deadline=past))) == ["deadline_passed"]
    assert codes(judge(client(Add(), deadline=NOON.timestamp()))) == [None]
    loaded = Loaded(replies={("toy", "a", "k"): (b"h", encode_answer(Answer(1)))})
    assert codes(judge(client(Add(), key="k", deadline=past), loaded=loaded)) == [None]


@pytest.mark.parametrize("where", ["decide", "evolve", "react", "needs", "reply"])
def test_an_exception_of_the_actor_undoes_its_command_alone(where: str) -> None:
    turn = judge(client(Add(n=1)), client(Break(where=where), key="k"), client(Add(n=2)))
    assert turn.entity.state == ToyState(total=3)
    assert [row.version for row in turn.rows.events] == [1, 2]
    assert [type(failure.error) for failure in turn.failures] == [TypeError if where == "reply" else RuntimeError]
    assert [delivery.command for delivery in turn.taken] == [Add(n=1), Add(n=2)]
    assert len(turn.answers) == 2


def test_what_follows_a_failed_message_of_the_same_source_waits_and_others_go_on() -> None:
    TOY.poison = {2}
    try:
        turn = judge(
            *[sent(Hear(n=n), f"m{n}") for n in (1, 2, 3)],
            sent(Hear(n=2), "o2", "toy:o"),
            sent(Hear(n=9), "p", "toy:p"),
        )
    finally:
        TOY.poison = set()
    assert turn.rows.taken == ["m1", "p"]
    assert [failure.delivery.message for failure in turn.failures] == ["m2", "o2"]
    assert [delivery.message for delivery in turn.deferred] == ["m3"]
    assert turn.entity.state.heard == ("toy:s 1", "toy:p 9")


def test_a_source_that_stalled_before_is_deferred() -> None:
    turn = judge(sent(Hear(n=1), "m1"), client(Add()), stalled=["toy:s"])
    assert [delivery.message for delivery in turn.deferred] == ["m1"]
    assert turn.entity.state == ToyState(total=1)


def test_an_unreadable_message_fails() -> None:
    turn = judge(sent(Unreadable("odd"), "m"))
    assert str(turn.failures[0].error) == "this program can't read the message: odd"


def test_a_message_that_is_gone_is_dropped_without_a_write() -> None:
    turn = judge(sent(Hear(n=1), "m", verified=False))
    assert (turn.writes(), len(turn.taken), turn.rows.taken) == (False, 1, [])
    turn = judge(sent(Hear(n=1), "m", verified=False), loaded=Loaded(messages={"m"}))
    assert (turn.writes(), turn.rows.taken) == (True, ["m"])


def test_a_refused_message_is_taken() -> None:
    turn = judge(sent(Give(to="b", n=1), "m"))
    assert (turn.rows.taken, turn.answers, turn.failures) == (["m"], [], [])


@pytest.mark.parametrize(
    "bad",
    [
        Fill(text="nul \0", event=True),
        Fill(text="lone \ud800", event=True),
        Fill(text="x" * 300_000, event=True),
        Look(reply="\0"),
        Look(reply="\ud800"),
        Look(reply="x" * ANSWER_LIMIT),
        Keep("x" * ANSWER_LIMIT),
    ],
)
def test_what_can_not_be_stored_is_refused_to_its_client_alone(bad: Any) -> None:
    turn = judge(client(Add(n=1)), client(bad, key="k"), client(Add(n=2)))
    assert codes(turn) == [None, "too_large_or_bad_text", None]
    assert turn.entity.state == ToyState(total=3)
    turn.number(0)
    assert len(turn.rows.replies) == 1


def test_a_message_that_can_not_be_stored_fails_and_is_not_lost() -> None:
    turn = judge(sent(Fill(text="\0", event=True), "m"))
    assert (turn.rows.taken, len(turn.failures)) == ([], 1)


def test_a_refusal_whose_text_can_not_be_stored_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TOY, "decide", lambda *_: Rejection("odd", "nul \0"))
    assert codes(judge(client(Add(), key="k"))) == ["too_large_or_bad_text"]


def test_a_state_that_grew_too_large_is_found_by_judging_with_care() -> None:
    deliveries = [client(Add()), client(Fill(text="x" * STATE_LIMIT)), client(Put(name="p", value=1)), client(Add())]
    with pytest.raises(Exception, match="bytes where at most"):
        judge(*deliveries)
    turn = judge(*deliveries, careful=True)
    assert codes(turn) == [None, "too_large_or_bad_text", None, None]
    assert turn.entity.state == ToyState(total=2)


def test_a_wake_at_that_raises_is_found_by_judging_with_care() -> None:
    turn = judge(client(Add()), client(Break(where="wake_at")), client(Add()), careful=True)
    assert turn.entity.state == ToyState(total=2)
    assert len(turn.failures) == 1


def test_an_answer_is_kept_without_a_command() -> None:
    turn = judge(client(Keep({"page": 1}), key="k"))
    assert turn.answers[0][1] == Answer({"page": 1})
    turn.number(7)
    assert turn.rows.replies[0].reply == '{"value":{"page":1}}'
    assert turn.rows.events == []


def test_answers_without_events_are_named_after_the_message() -> None:
    turn = judge(sent(Echo(n=4), "toy/s/9/0"))
    assert [(row.message, row.id, row.body) for row in turn.rows.outbox] == [
        ("toy/s/9/0>0", "s", '{"source":"toy:a","trace":"t","body":{"$type":"Hear","n":4}}')
    ]
    assert turn.sends[0].command == Hear(n=4)
    assert turn.sends[0].verified is True


def test_a_client_is_not_answered_by_messages() -> None:
    turn = judge(client(Echo(n=4)))
    assert isinstance(turn.failures[0].error, TypeError)


def test_messages_to_nobody_fail() -> None:
    turn = judge(client(Tell(to=("b",), n=1, kind="nobody")))
    assert isinstance(turn.failures[0].error, LookupError)
    assert turn.rows.outbox == []


def test_messages_are_named_by_version_and_place() -> None:
    turn = judge(client(Add()), client(Tell(to=("b", "c"), n=1)), client(Tell(to=("b",), n=2)))
    assert [row.message for row in turn.rows.outbox] == ["toy/a/2/0", "toy/a/2/1", "toy/a/3/0"]


def test_claims_and_drops_of_a_turn_add_up() -> None:
    turn = judge(client(Own(value="x")), client(Own(value="y")), client(Free(value="x")), client(Free(value="z")))
    assert turn.rows.claims == [("name", "y")]
    assert turn.rows.drops == [("name", "x"), ("name", "z")]
    assert turn.claimed == {("name", "x"), ("name", "y")}
    turn = judge(client(Free(value="x")), client(Own(value="x")))
    assert (turn.rows.claims, turn.rows.drops) == ([("name", "x")], [])


def test_parts_are_seen_by_later_commands_of_the_turn() -> None:
    turn = judge(
        client(Put(name="p", value=1)),
        client(Look(names=("p", "q"))),
        client(Put(name="p", value=2)),
        client(Put(name="q", value=3)),
        client(Put(name="p", value=None)),
        client(Look(names=("p", "q"))),
    )
    answers = [answer.value for _, answer, _ in turn.answers if isinstance(answer, Answer)]
    assert (answers[1], answers[-1]) == ({"p": 1}, {"q": 3})
    assert turn.parts == {"p": None, "q": ToyPart(3)}
    assert [(row.part, row.value) for row in turn.rows.parts] == [("p", None), ("q", '{"value":3}')]


def test_parts_come_from_memory_when_it_is_complete_and_else_from_the_store() -> None:
    complete = Entity(ToyState(), 1, parts={"p": ToyPart(5)}, complete=True)
    loaded = Loaded(parts={("toy", "a", "p"): '{"value":7}'})
    for entity, expected in ((complete, 5), (Entity(ToyState(), 1), 7)):
        turn = judge(client(Look(names=("p",))), entity=entity, loaded=loaded)
        assert turn.answers[0][1].value == {"p": expected}  # type: ignore[union-attr]


def test_a_judged_turn_leaves_memory_as_it_was() -> None:
    entity = Entity(ToyState(), 1, parts={"p": ToyPart(5)}, complete=True)
    judge(client(Put(name="p", value=None)), client(Put(name="q", value=1)), entity=entity)
    assert entity == Entity(ToyState(), 1, parts={"p": ToyPart(5)}, complete=True)


def test_a_wake_up_before_its_time_or_for_nobody_is_dropped() -> None:
    late = Entity(ToyState(wake=NOON + timedelta(microseconds=1)), 1, wake_at=NOON + timedelta(microseconds=1))
    for entity in (Entity(), Entity(ToyState(), 1), late):
        turn = judge(client(Wake()), entity=entity)
        assert (turn.rows.events, len(turn.taken), turn.writes()) == ([], 1, False)


def test_a_wake_up_is_given_the_due_parts_as_the_turn_left_them() -> None:
    before, after = NOON - timedelta(seconds=1), NOON + timedelta(seconds=9)
    loaded = Loaded(
        due={("toy", "a"): {"p": '{"value":1}', "q": '{"value":2}', "r": '{"value":3}'}},
        next_due={("toy", "a"): NOON + timedelta(seconds=30)},
    )
    entity = Entity(ToyState(wake=before), 1, wake_at=before)
    turn = judge(
        client(Put(name="q", value=None)),
        client(Put(name="r", value=3)),
        client(Put(name="now", value=4, due_at=NOON)),
        client(Put(name="soon", value=5, due_at=after)),
        client(Wake()),
        entity=entity,
        loaded=loaded,
    )
    assert turn.entity.state.woken == (("now", "p"),)
    assert turn.entity.state.wake == after
    assert turn.rows.timer == after


def test_the_timer_follows_the_state() -> None:
    later = NOON + timedelta(hours=1)
    assert judge(client(SetWake(at=later))).rows.timer == later
    entity = Entity(ToyState(wake=later), 1, wake_at=later)
    assert judge(client(Add()), entity=entity).rows.timer is KEEP
    assert judge(client(SetWake(at=None)), entity=entity).rows.timer is DROP


COMMANDS = st.one_of(
    st.builds(Add, n=st.integers(-5, 5)),
    st.builds(Give, to=st.sampled_from("bcd"), n=st.integers(0, 5)),
    st.builds(Tell, to=st.just(("b", "c")), n=st.integers(0, 9)),
    st.builds(Fill, text=st.text(max_size=5), event=st.booleans()),
    st.builds(Put, name=st.sampled_from("pq"), value=st.none() | st.integers(0, 9), due_at=st.none() | st.just(NOON)),
    st.builds(Break, where=st.sampled_from(["decide", "evolve", "react", "needs"])),
    st.builds(SetWake, at=st.none() | st.just(NOON)),
    st.just(Wake()),
)


@settings(max_examples=150, deadline=None)
@given(groups=st.lists(st.lists(COMMANDS, max_size=6), max_size=6))
async def test_replaying_the_log_gives_the_stored_state_and_the_chain_holds(groups: list[list[Any]]) -> None:
    entity, log = Entity(), list[EventRow]()
    parts: dict[str, str] = {}
    for group in groups:
        loaded = Loaded(parts={("toy", "a", name): text for name, text in parts.items()})
        turn = judge(*map(client, group), entity=Entity(entity.state, entity.version, entity.head), loaded=loaded)
        assert len(turn.taken) + len(turn.failures) == len(group)
        turn.number(len(log))
        log += turn.rows.events
        for row in turn.rows.parts:
            if row.value is None:
                parts.pop(row.part, None)
            else:
                parts[row.part] = row.value
        if turn.rows.events:
            entity = turn.entity
            assert turn.rows.state.encode() == msgspec.json.encode(entity.state)
    assert [row.seq for row in log] == [row.version for row in log] == list(range(1, len(log) + 1))
    head = Chain.START
    for row in log:
        head = Chain.link(head, ("toy", "a", row.type, row.command, row.actor), row.version, row.at, row.data)
        assert row.hash == head
    assert entity.head == head
    if log:
        stored = StoredEntity(entity.version, 0, head, "")
        rebuilt = await rebuild(_History(log), TOY, CODECS["toy"], "a", stored)  # type: ignore[arg-type]
        assert (rebuilt.state, rebuilt.version, rebuilt.wake_at) == (entity.state, len(log), entity.wake_at)


class _History:
    """Only the history of a journal."""

    def __init__(self, log: list[EventRow]) -> None:
        self._log = log

    async def history(self, kind: str, id: str) -> AsyncIterator[EventRow]:
        assert (kind, id) == ("toy", "a")
        for row in self._log:
            yield row
