"""Each fault of `scripts/faults` in short: what must hold holds, all but the times, which are for a quiet machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scripts.benchmarks.shop import ROOT
from scripts.faultlab import full_disk, overload, replica_killed, slow_database, stuck_gateway
from scripts.faultlab.findings import Finding, Size, show

SHORT = Size(
    overload=4, stall=6, full=1, hang=3, gateway=2, kills=2, away=3, frozen=4, offered=3_000, poison=10,
)  # fmt: skip


def check(findings: list[Finding]) -> None:
    assert [finding for finding in findings if finding.held is False] == []
    assert any(finding.held for finding in findings)


async def test_under_five_times_the_load_who_is_let_in_is_served_and_nothing_is_lost(tmp_path: Path) -> None:
    check(await overload.run(tmp_path, SHORT))


async def test_a_slow_and_then_silent_database_costs_nobody_an_order(tmp_path: Path) -> None:
    check(await slow_database.run(tmp_path, SHORT))


async def test_a_full_disk_costs_nobody_an_order(tmp_path: Path) -> None:
    findings = await full_disk.run(tmp_path, SHORT)
    if all(finding.held is None for finding in findings):
        pytest.skip(findings[0].measured)
    check(findings)


async def test_calls_that_hang_hold_no_other_payment_up(tmp_path: Path) -> None:
    check(await stuck_gateway.run(tmp_path, SHORT))


@pytest.mark.usefixtures("rabbitmq_url")
async def test_replicas_that_are_killed_cost_nobody_an_order(tmp_path: Path) -> None:
    check(await replica_killed.run(tmp_path, SHORT))


async def test_without_the_right_to_mount_the_full_disk_is_told_as_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = await full_disk.run(tmp_path, SHORT)
    assert [finding.held for finding in findings] == [None, None]
    assert findings[0].measured.startswith("not tried: there is no program to mount a file system with")


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.faultlab", *arguments],
        cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_faults_are_listed() -> None:
    done = command("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "overload",
        "slow-database",
        "full-disk",
        "stuck-gateway",
        "replica-killed",
    ]


def test_an_unknown_fault_is_refused_with_the_names_there_are() -> None:
    done = command("nothing")
    assert done.returncode == 2
    assert "overload, slow-database, full-disk, stuck-gateway, replica-killed" in done.stderr


@pytest.mark.parametrize(("held", "word"), [(True, "yes"), (False, "NO"), (None, "not judged")])
def test_a_row_says_whether_it_held(held: bool | None, word: str) -> None:
    console = Console(record=True, width=100)
    show([Finding(fault="a fault", must="hold", measured="a figure", held=held)], console)
    assert word in console.export_text()
