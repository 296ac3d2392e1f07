"""Each fault of `scripts/faults` in short: what must hold holds, all but the times, which are for a quiet machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from scripts.benchmarks.shop import ROOT
from scripts.faultlab import full_disk
from scripts.faultlab.faults import FAULTS, OF_ONE_PROCESS, OF_REPLICAS
from scripts.faultlab.findings import Finding, Size, show

SHORT = Size(
    overload=4, stall=8, full=1, hang=3, gateway=2, kills=2, away=3, frozen=4, offered=3_000, poison=10,
)  # fmt: skip


@pytest.mark.parametrize("name", OF_ONE_PROCESS)
async def test_a_shop_of_one_process_loses_and_doubles_nothing(tmp_path: Path, name: str) -> None:
    await suffer(tmp_path, name)


@pytest.mark.usefixtures("rabbitmq_url")
@pytest.mark.parametrize("name", OF_REPLICAS)
async def test_a_shop_of_many_processes_loses_and_doubles_nothing(tmp_path: Path, name: str) -> None:
    await suffer(tmp_path, name)


async def suffer(place: Path, name: str) -> None:
    """Make a fault, and see that everything that is judged held. Some need what this user may not do."""
    _, fault = FAULTS[name]
    findings = await fault(place, SHORT)
    if all(finding.held is None for finding in findings):
        pytest.skip(findings[0].measured)
    assert [finding for finding in findings if finding.held is False] == []


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
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(FAULTS)


def test_an_unknown_fault_is_refused_with_the_names_there_are() -> None:
    done = command("nothing")
    assert done.returncode == 2
    assert [name for name in FAULTS if name not in done.stderr] == []


@pytest.mark.parametrize(("held", "word"), [(True, "yes"), (False, "NO"), (None, "not judged")])
def test_a_row_says_whether_it_held(held: bool | None, word: str) -> None:
    console = Console(record=True, width=100)
    show([Finding(fault="a fault", must="hold", measured="a figure", held=held)], console)
    assert word in console.export_text()
