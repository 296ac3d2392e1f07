import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ultramarket.adapters import embedded_postgres_child as child

CHILD = Path(child.__file__)


def test_the_watcher_interrupts_the_server_when_its_parent_is_gone() -> None:
    for sent, code in ((b"", -signal.SIGINT), (b"q", None)):
        with subprocess.Popen(["sleep", "60"]) as server:
            watcher = [sys.executable, "-I", "-S", str(CHILD), "watch", str(server.pid)]
            subprocess.run(watcher, input=sent, check=True)
            if code is not None:
                assert server.wait(10) == code
            assert server.poll() == code
            server.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal of death is Linux's")
def test_a_command_whose_parent_is_already_gone_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(CHILD), "exec", "1", "echo", "begun"], check=False, capture_output=True
    )
    assert (done.returncode, done.stdout) == (1, b"")
