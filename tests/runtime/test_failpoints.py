"""A failpoint kills the process at its place; every place of the runtime has one, or a reason; each is run."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.chains import CHAINS, CORE, LEFT_OUT, RUN, STEPS, command
from tests.runtime.waits import NO_FAILPOINT
from ultramarket.messages.common import Message, Wake
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime import failpoints
from ultramarket.runtime.actor import Actor, Worker
from ultramarket.runtime.failpoints import NAMES, POINTS, Fuse, failpoint, fuse, steps, taken
from ultramarket.runtime.turn import Keep, Turn

RUNTIME = Path(failpoints.__file__).parent
Waiting = ast.Await | ast.AsyncWith | ast.AsyncFor | ast.comprehension
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Ask(Message, frozen=True):
    """A command."""


class Tell(Message, frozen=True):
    """Another one."""


class Both(Actor[Any, Any, Any]):
    kind = "both"
    commands = Ask | Tell | Wake


class One(Worker[Ask]):
    kind = "one"
    commands = Ask


# What they do


def run(armed: str, program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", f"from ultramarket.runtime.failpoints import check, failpoint\n{program}"],
        env={**os.environ, "ULTRAMARKET_TEST_FAILPOINT": armed},
        capture_output=True,
        text=True,
        check=False,
    )


def turn(*commands: Any) -> tuple[None, Turn]:
    made = Turn.nothing("both", 0, "b")
    made.taken.extend(Delivery("both", 0, "b", command, "system", "t", "c") for command in commands)
    return None, made


def test_it_dies_the_third_time_and_at_no_other_place() -> None:
    program = "for n in range(9):\n    failpoint('commit.before'); print(n, flush=True); failpoint('commit.after')"
    done = run("commit.after:3", program)
    assert (done.returncode, done.stdout.split()) == (-9, ["0", "1", "2"])


def test_nothing_happens_unarmed() -> None:
    assert run("", "failpoint('commit.before'); print('alive')").stdout == "alive\n"


def test_an_unknown_name_is_refused() -> None:
    assert "unknown failpoint 'commit.never'" in run("commit.never", "").stderr


def test_an_unknown_command_is_refused_once_the_cast_is_known() -> None:
    assert "unknown failpoint 'taken.cart.Sing.after'" in run("taken.cart.Sing.after", "check([])").stderr


def test_a_fuse_kills_the_process_with_sigkill(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr(failpoints, "watcher", fuse("commit.after:2"))
    failpoint("commit.after")
    assert killed == []
    failpoint("commit.after")
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_watcher_sees_each_failpoint_and_may_end_everything_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(BaseException):
        pass

    def watch(name: str) -> None:
        seen.append(name)
        if name == "taken.both.Tell.after":
            raise Dead

    seen: list[str] = []
    monkeypatch.setattr(failpoints, "watcher", watch)
    failpoint("park.before")
    taken([turn(Ask(), Wake()), turn(Keep(1))], "before")
    with pytest.raises(Dead):
        taken([turn(Tell(), Ask())], "after")
    assert seen == ["park.before", "taken.both.Ask.before", "taken.both.Wake.before", "taken.both.Tell.after"]


def test_every_command_of_actors_and_workers_has_two() -> None:
    assert steps([Both(), One()]) == (
        "taken.both.Ask.before",
        "taken.both.Ask.after",
        "taken.both.Tell.before",
        "taken.both.Tell.after",
        "taken.both.Wake.before",
        "taken.both.Wake.after",
        "taken.one.Ask.before",
        "taken.one.Ask.after",
    )


def test_a_fuse_of_one_command_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "watcher", Fuse("taken.both.Tell.before", 1))
    taken([turn(Ask())], "before")
    failpoints.check([Both()])


# Every place of the runtime has one, or a reason


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(RUNTIME.glob("*.py")):
        yield path.stem, ast.parse(path.read_text())


def reached(statement: ast.stmt) -> str:
    """The name in a statement `failpoint("name")`, else nothing."""
    match statement:
        case ast.Expr(ast.Call(ast.Name("failpoint"), [ast.Constant(str(name))])):
            return name
    return ""


def children(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a node, without the bodies of functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            yield child
            yield from children(child)


def waits(node: ast.AST) -> dict[ast.AST, str]:
    """Everything in a node that waits, with the source of what it waits for."""
    found: dict[ast.AST, str] = {}
    for each in (node, *children(node)):
        match each:
            case ast.Await(value=awaited):
                found[each] = ast.unparse(awaited)
            case ast.AsyncWith(items=items):
                found[each] = "async with " + ", ".join(ast.unparse(item) for item in items)
            case ast.AsyncFor(iter=source) | ast.comprehension(iter=source, is_async=1):
                found[each] = "async for " + ast.unparse(source)
    return found


def guarded(block: list[ast.stmt]) -> set[ast.AST]:
    """What waits between a failpoint `x.before` and its `x.after` in a block, alone between the two."""
    found: set[ast.AST] = set()
    opened, between = "", list[ast.AST]()
    for statement in block:
        name = reached(statement)
        if name.endswith(".before"):
            opened, between = name.removesuffix(".before"), []
        elif name and name == f"{opened}.after":
            found.update(between if len(between) == 1 else ())
            opened = ""
        else:
            between += waits(statement)
    return found


def functions(tree: ast.AST, within: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{within}{node.name}", node
        name = (
            f"{within}{node.name}."
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            else within
        )
        yield from functions(node, name)


def own(awaited: str, module: ast.Module) -> bool:
    """Whether a coroutine of the same module is called, directly or on `self`: its own waits are looked at there."""
    names = {node.name for node in ast.walk(module) if isinstance(node, ast.AsyncFunctionDef)}
    match ast.parse(awaited, mode="eval").body:
        case ast.Call(ast.Name(name)) | ast.Call(ast.Attribute(ast.Name("self"), name)):
            return name in names
    return False


def unguarded(source: str) -> set[tuple[str, str]]:
    """Everything awaited in a module without a failpoint at both sides of it: by function, what is awaited."""
    module = ast.parse(source)
    found: set[tuple[str, str]] = set()
    for name, function in functions(module):
        inside = [function, *children(function)]
        blocks = [
            block
            for node in inside
            for field in ("body", "orelse", "finalbody")
            if isinstance(block := getattr(node, field, None), list)
        ]
        safe = set[ast.AST]().union(*(guarded(block) for block in blocks))
        found |= {
            (name, wait)
            for statement in ast.iter_child_nodes(function)
            if not isinstance(statement, SCOPES)
            for node, wait in waits(statement).items()
            if node not in safe and (wait.startswith("async ") or not own(wait, module))
        }
    return found


def test_every_wait_of_the_runtime_has_a_failpoint_at_both_sides_or_a_reason() -> None:
    found = {(path.stem, *wait) for path in sorted(RUNTIME.glob("*.py")) for wait in unguarded(path.read_text())}
    assert sorted(found - set(NO_FAILPOINT)) == [], "give them a failpoint, or a reason in tests/runtime/waits.py"
    assert sorted(set(NO_FAILPOINT) - found) == [], (
        "there is no such wait any more: take it out of tests/runtime/waits.py"
    )


def test_each_reason_is_a_sentence() -> None:
    assert [wait for wait, reason in NO_FAILPOINT.items() if len(reason.split()) < 4] == []


SAMPLE = """
class Shop:
    async def sell(self):
        failpoint("sale.before")
        price = await self.journal.price()
        failpoint("sale.after")
        {more}
        await self._wrap()

    async def _wrap(self):
        pass
"""


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("pass", set()),
        ("await self.journal.count()", {("Shop.sell", "self.journal.count()")}),
        ("await self.journal.price()", {("Shop.sell", "self.journal.price()")}),
        ("return [x async for x in rows()]", {("Shop.sell", "async for rows()")}),
        (
            "failpoint('b.before'); await one(); await two(); failpoint('b.after')",
            {("Shop.sell", "one()"), ("Shop.sell", "two()")},
        ),
        ("failpoint('b.before'); await one(); failpoint('c.after')", {("Shop.sell", "one()")}),
        (
            "async with lock: failpoint('b.before'); await one(); failpoint('b.after')",
            {("Shop.sell", "async with lock")},
        ),
    ],
)
def test_a_wait_without_a_failpoint_at_both_sides_is_found(more: str, found: set[tuple[str, str]]) -> None:
    assert unguarded(SAMPLE.format(more=more)) == found


# Each is known, and run


def test_the_registry_has_exactly_the_failpoints_that_the_runtime_reaches() -> None:
    places = [
        name
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and (name := reached(node))
    ]
    assert sorted(places) == sorted(NAMES)


def test_each_place_has_a_failpoint_before_and_after_it() -> None:
    assert {name.partition(".")[0] for name in NAMES if name.endswith(".before")} == {
        name.partition(".")[0] for name in NAMES if name.endswith(".after")
    }
    assert all(len(meaning.split()) > 3 for meaning in POINTS.values())


def test_the_kill_tests_run_each_failpoint_of_the_runtime() -> None:
    assert sorted(set(NAMES) - RUN) == []
    assert {
        name: sum(armed.startswith(f"{name}:") for chain in CHAINS.values() for armed in chain) for name in CORE
    } == (dict.fromkeys(CORE, 3))


def test_the_kill_tests_run_each_command_of_the_cast_before_and_after_its_commit_or_say_why_not() -> None:
    ran = {name for name in RUN if name not in NAMES}
    assert sorted(ran - set(STEPS)) == []
    assert sorted({command(name) for name in set(STEPS) - ran}) == sorted(LEFT_OUT)
    assert all(len(reason.split()) > 3 for reason in LEFT_OUT.values())
