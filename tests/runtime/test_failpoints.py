"""A failpoint kills the process at its place, the time it is asked to."""

import os
import subprocess
import sys


def run(armed: str, program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", f"from ultramarket.runtime.failpoints import failpoint\n{program}"],
        env={**os.environ, "ULTRAMARKET_TEST_FAILPOINT": armed},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_dies_the_third_time_and_at_no_other_place() -> None:
    program = "for n in range(9):\n    failpoint('commit.before'); print(n, flush=True); failpoint('commit.after')"
    done = run("commit.after:3", program)
    assert (done.returncode, done.stdout.split()) == (-9, ["0", "1", "2"])


def test_nothing_happens_unarmed() -> None:
    assert run("", "failpoint('commit.before'); print('alive')").stdout == "alive\n"


def test_an_unknown_name_is_refused() -> None:
    assert "unknown failpoint 'commit.never'" in run("commit.never", "").stderr
