"""start, worker and web as processes, and the entries of the Procfile."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from typer.testing import CliRunner

import ultramarket
from ultramarket.adapters.embedded_postgres import running_dsn
from ultramarket.cli import app
from ultramarket.supervisor.orders import PARENT, ParentOrders, as_variable, posts

Start = Callable[..., Any]
ROOT = Path(ultramarket.__file__).parents[1]
ALONE = (
    " shares a shop with other processes, which takes a broker between them: set ULTRAMARKET_BROKER_URL to a RabbitMQ, "
    "e.g. amqp://shop:secret@127.0.0.1/. Without one, `ultramarket serve` does it all alone.\n"
)


def status_of(url: str) -> int:
    with urlopen(f"{url}/health/live", timeout=30) as answer:  # noqa: S310 - the address of our own server
        status: int = answer.status
        return status


def replicas_of(parent: int) -> list[psutil.Process]:
    """The platform's processes below a parent."""
    found = []
    for one in psutil.Process(parent).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "serve" in one.cmdline():
                found.append(one)
    return found


def next_replica(parent: int, before: int) -> psutil.Process:
    """The process in the place of another one, once it is there."""
    while True:
        for one in replicas_of(parent):
            if one.pid != before:
                return one


@pytest.fixture
def arguments(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Of a parent of one replica over a database of the test's own."""
    monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", dsn)
    return ("start", "--replicas", "1", "--port", "0", "--json", "--data-dir", str(tmp_path))


def test_a_killed_replica_comes_back_on_the_same_port(start: Start, arguments: tuple[str, ...]) -> None:
    process = start(*arguments, ULTRAMARKET_LOG_LEVEL="info")
    said = process.ready()
    (first,) = replicas_of(process.popen.pid)
    first.kill()
    second = next_replica(process.popen.pid, first.pid)
    assert status_of(said["url"]) == 200  # the connection waits on the parent's socket until the new one takes it
    assert second.is_running()
    code, stderr = process.end(signal.SIGTERM)
    assert code == 0
    lines = [json.loads(line) for line in stderr.splitlines()]
    serving = next(line for line in lines if line["event"] == "serving")
    assert (serving["replica"], serving["url"]) == ("replica-1", said["url"])
    assert [line["replica"] for line in lines if line["event"].startswith("ended by SIGKILL")] == ["replica-1"]


def test_a_roll_of_the_only_replica_makes_requests_wait_and_none_fail(start: Start, arguments: tuple[str, ...]) -> None:
    process = start(*arguments)
    url = process.ready()["url"]
    (first,) = replicas_of(process.popen.pid)
    over = threading.Event()
    seen: list[int] = []

    def keep_asking() -> None:
        while not over.is_set():
            try:
                seen.append(status_of(url))
            except (OSError, URLError):
                seen.append(0)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    process.popen.send_signal(signal.SIGHUP)
    next_replica(process.popen.pid, first.pid)
    count = len(seen)
    while len(seen) < count + 20:
        time.sleep(0.01)
    over.set()
    asking.join()
    assert set(seen) == {200}
    assert process.end(signal.SIGTERM)[0] == 0


def test_the_children_of_a_killed_parent_stop_and_so_does_its_database(start: Start, tmp_path: Path) -> None:
    process = start("start", "--replicas", "1", "--port", "0", "--json", "--data-dir", str(tmp_path))
    said = process.ready()
    assert said["staff_key"] == (tmp_path / "staff.key").read_text().strip()
    (replica,) = replicas_of(process.popen.pid)
    database = psutil.Process(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]))
    process.popen.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs([replica, database], timeout=60)
    assert (len(gone), alive) == (2, [])
    host, _, port = said["url"].removeprefix("http://").rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_stop_ends_the_embedded_database_last(start: Start, tmp_path: Path) -> None:
    process = start("start", "--port", "0", "--json", "--data-dir", str(tmp_path))
    assert status_of(process.ready()["url"]) == 200
    assert running_dsn(tmp_path) is not None
    code, stderr = process.end(signal.SIGINT)
    assert (code, "Traceback" in stderr) == (0, False)
    assert running_dsn(tmp_path) is None


def test_the_end_of_the_terminal_is_a_stop_and_no_roll(start: Start, arguments: tuple[str, ...]) -> None:
    ours, theirs = pty.openpty()
    # The terminal becomes that of the process, as a login does it; the tests themselves may run under `nohup`.
    login = (
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = start(
        *(sys.executable, "-m", "ultramarket.cli", *arguments),
        command=(sys.executable, "-c", login), stdin=theirs, start_new_session=True, ULTRAMARKET_LOG_LEVEL="info",
    )  # fmt: skip
    process.ready()
    os.close(theirs)
    os.close(ours)
    code, stderr = process.wait()
    assert code == 0
    assert '"rolling' not in stderr


def test_a_database_that_ends_by_itself_ends_the_parent_with_a_sentence(start: Start, tmp_path: Path) -> None:
    process = start("start", "--port", "0", "--json", "--data-dir", str(tmp_path))
    process.ready()
    os.kill(int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    code, stderr = process.wait()
    assert code == 1
    assert stderr.splitlines()[-1].startswith("Error: The embedded PostgreSQL ended by itself, with status -9: ")


def test_a_parent_whose_children_refuse_to_start_ends_as_they_do(tmp_path: Path) -> None:
    orders = ParentOrders(
        posts=posts(replicas=2, workers=0, web=0), sockets=(), flags=("--nonsense",), options=(),
        data_dir=str(tmp_path), embedded=False, grace_seconds=5.0, log_format="json", log_level="warning", url="",
        new_key=False, json=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ultramarket.supervisor"],
        check=False, capture_output=True, text=True, env=os.environ | {PARENT: as_variable(orders)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("Error: replica-1 ended with status 2, and starting it anew would not help.\n")


def test_a_parent_loads_nothing_of_the_shop() -> None:
    script = "import sys, ultramarket.supervisor.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "ultramarket.supervisor.parent" in loaded
    assert not {"aiohttp", "asyncpg", "actors", "web", "pydantic", "typer", "uvloop"} & set(loaded)


@pytest.mark.parametrize("more", [("--replicas", "2"), ("--web", "1"), ("--replicas", "0", "--workers", "1")])
def test_several_processes_need_a_broker(runner: CliRunner, more: tuple[str, ...], tmp_path: Path) -> None:
    result = runner.invoke(app, ["start", *more, "--data-dir", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (2, f"Error: A process that is not the only one{ALONE}")


@pytest.mark.parametrize("command", ["worker", "web"])
def test_half_a_platform_needs_a_broker(runner: CliRunner, command: str, tmp_path: Path) -> None:
    result = runner.invoke(app, [command, "--data-dir", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (2, f"Error: ultramarket {command}{ALONE}")


def test_nothing_to_start_is_a_mistake(runner: CliRunner) -> None:
    result = runner.invoke(app, ["start", "--replicas", "0"])
    assert (result.exit_code, result.stderr) == (
        2, "Error: There is nothing to start: give --replicas, --workers or --web.\n",
    )  # fmt: skip


def honcho(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "honcho", "--procfile", str(ROOT / "Procfile"), "--app-root", str(ROOT), *arguments)


def test_the_procfile_is_one_that_honcho_reads() -> None:
    done = subprocess.run(honcho("check"), check=True, capture_output=True, text=True)
    assert "Valid procfile detected (release, web, worker, all)" in done.stderr


def test_the_all_in_one_entry_serves_on_the_port_of_the_process_manager(start: Start, dsn: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start(
        "start", "--port", str(port), "all",
        command=honcho(),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        ULTRAMARKET_DATABASE_URL=dsn, ULTRAMARKET_DATA_DIR=str(tmp_path), PYTHONUNBUFFERED="1",
    )  # fmt: skip
    for line in process.popen.stdout:
        if f"http://127.0.0.1:{port}/api/v1/products" in line:
            break
    assert status_of(f"http://127.0.0.1:{port}") == 200
    process.end(signal.SIGTERM)


@pytest.mark.parametrize("entry", ["web", "worker"])
def test_the_other_entries_start_and_say_what_they_need(start: Start, tmp_path: Path, entry: str) -> None:
    process = start(
        "start", entry,
        command=honcho(),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        ULTRAMARKET_DATA_DIR=str(tmp_path), PYTHONUNBUFFERED="1",
    )  # fmt: skip
    assert "set ULTRAMARKET_BROKER_URL" in process.popen.stdout.read()
    assert process.wait()[0] == 2
