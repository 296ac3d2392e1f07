"""up and serve as processes: what they say, how they stop, and what a kill leaves behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

from ultramarket.adapters.embedded_postgres import running_dsn
from ultramarket.cli import app
from ultramarket.cli.server import Stop
from ultramarket.errors import UltraMarketError

Start = Callable[..., Any]
CSV = b"Handle,Title,Variant SKU,Variant Price\nmug,Mug,MUG-1,9.50\n"


def get(url: str) -> Any:
    with urlopen(Request(url)) as answer:  # noqa: S310 - the address of our own server
        return json.load(answer)


def begin_import(url: str, key: str) -> socket.socket:
    """A request that is on its way: its head is sent, its body is not."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(
        b"POST /api/v1/imports?currency=USD HTTP/1.1\r\nHost: shop\r\nContent-Type: text/csv\r\n"
        + f"Authorization: Bearer {key}\r\nContent-Length: {len(CSV)}\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the handler has begun
    return connection


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


def test_up_makes_a_shop_with_the_demo_catalogue(kept_shop: tuple[Path, dict[str, Any]]) -> None:
    data_dir, said = kept_shop
    assert said["docs"] == f"{said['url']}/docs"
    assert said["staff_key_file"] == f"{data_dir}/staff.key"
    assert said["staff_key"] == (data_dir / "staff.key").read_text().strip()
    assert get(f"{said['url']}/health/ready")["status"] == "ok"
    assert len(get(f"{said['url']}/api/v1/products?limit=50")["items"]) == 50


def test_a_second_up_on_the_same_data_says_who_holds_it(start: Start, kept_shop: tuple[Path, Any]) -> None:
    code, stderr = start("up", "--port", "0", "--data-dir", str(kept_shop[0])).wait()
    assert code == 1
    assert f"Error: The data directory {kept_shop[0]} is in use by process " in stderr
    assert "Traceback" not in stderr


def test_a_port_in_use_is_one_sentence(dsn: str, start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, stderr = start(
            "serve", "--port", str(port), "--data-dir", str(tmp_path), ULTRAMARKET_DATABASE_URL=dsn
        ).wait()
    assert (code, stderr) == (
        1,
        (
            f"Error: Port {port} of 127.0.0.1 is in use by another program: stop that, or choose another port with "
            "--port (0 takes a free one).\n"
        ),
    )


def test_a_second_process_on_the_same_database_is_refused(dsn: str, start: Start, tmp_path: Path) -> None:
    first = start("serve", "--port", "0", "--json", "--data-dir", str(tmp_path), ULTRAMARKET_DATABASE_URL=dsn)
    first.ready()
    code, stderr = start("serve", "--port", "0", "--data-dir", str(tmp_path), ULTRAMARKET_DATABASE_URL=dsn).wait()
    assert code == 1
    assert f"pid {first.popen.pid} " in stderr


def test_a_process_with_another_master_key_is_refused(dsn: str, start: Start, tmp_path: Path) -> None:
    first = start("serve", "--port", "0", "--json", "--data-dir", str(tmp_path / "a"), ULTRAMARKET_DATABASE_URL=dsn)
    first.ready()
    assert first.end(signal.SIGTERM)[0] == 0
    elsewhere = start("serve", "--port", "0", "--data-dir", str(tmp_path / "b"), ULTRAMARKET_DATABASE_URL=dsn)
    code, stderr = elsewhere.wait()
    assert code == 2
    assert "Error: The master key does not open the keys in the database" in stderr
    key = (tmp_path / "a" / "master.key").read_text().strip()
    given = {"ULTRAMARKET_DATABASE_URL": dsn, "ULTRAMARKET_MASTER_KEY": key}
    start("serve", "--port", "0", "--json", "--data-dir", str(tmp_path / "b"), **given).ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_finish_and_takes_no_more(
    dsn: str, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("serve", "--port", "0", "--json", "--data-dir", str(tmp_path), ULTRAMARKET_DATABASE_URL=dsn)
    said = process.ready()
    with begin_import(said["url"], said["staff_key"]) as running:
        process.popen.send_signal(number)
        wait_until_refused(said["url"])
        running.sendall(CSV)
        head, _, body = read_all(running).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 202 ")
    assert b"\r\nconnection: close" in head.lower()
    assert json.loads(body)["status"] == "running"
    code, stderr = process.wait()
    assert code == 0
    assert "Traceback" not in stderr


def wait_until_refused(url: str) -> None:
    host, _, port = url.removeprefix("http://").rpartition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=30).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return


def test_the_second_signal_ends_the_process_at_once(dsn: str, start: Start, tmp_path: Path) -> None:
    process = start("serve", "--port", "0", "--json", "--data-dir", str(tmp_path), ULTRAMARKET_DATABASE_URL=dsn)
    said = process.ready()
    with begin_import(said["url"], said["staff_key"]):
        process.popen.send_signal(signal.SIGTERM)
        wait_until_refused(said["url"])
        code, _ = process.end(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM


def test_after_a_kill_the_next_start_goes_on(start: Start, tmp_path: Path, runner: CliRunner) -> None:
    arguments = ("up", "--port", "0", "--json", "--data-dir", str(tmp_path))
    process = start(*arguments)
    key = process.ready()["staff_key"]
    code, _ = process.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    again = start(*arguments)
    said = again.ready()
    assert "staff_key" not in said
    assert (tmp_path / "staff.key").read_text().strip() == key
    assert get(f"{said['url']}/health/ready")["stores"]["actors"] == "ok"
    assert again.end(signal.SIGTERM)[0] == 0
    assert running_dsn(tmp_path) is None
    assert runner.invoke(app, ["status", "--data-dir", str(tmp_path)]).stdout.startswith("Runs       no\n")


def test_commands_find_the_embedded_database_of_the_platform_that_runs(
    kept_shop: tuple[Path, Any], runner: CliRunner
) -> None:
    data_dir = str(kept_shop[0])
    found = json.loads(runner.invoke(app, ["status", "--json", "--data-dir", data_dir]).stdout)
    assert " pid " in found["owner"]
    assert {kind["kind"]: kind["entities"] for kind in found["kinds"]}["product"] >= 60
    result = runner.invoke(app, ["doctor", "--log", "--json", "--data-dir", data_dir])
    assert json.loads(result.stdout)["log"]["wrong"] == 0
    assert result.exit_code == 0


def test_people_are_told_where_to_begin(dsn: str, start: Start, tmp_path: Path) -> None:
    process = start("up", "--port", "0", "--data-dir", str(tmp_path), ULTRAMARKET_DATABASE_URL=dsn)
    lines: list[str] = []
    while not lines or "Try it" not in lines[-1]:
        lines.append(process.popen.stdout.readline())
    text = "".join(lines)
    url = text.split("Shop       ")[1].split("\n")[0]
    key = (tmp_path / "staff.key").read_text().strip()
    assert (
        f"  API        {url}/docs\n  Staff key  {key}\n             shown this once; kept in {tmp_path}/staff.key"
        in text
    )
    assert f"curl '{url}/api/v1/products?limit=3'" in text
    assert process.end(signal.SIGTERM)[0] == 0


def test_a_change_of_a_file_starts_the_server_anew_over_the_same_database(start: Start, tmp_path: Path) -> None:
    watched = tmp_path / "source"
    watched.mkdir()
    script = (
        "import sys; from pathlib import Path; from ultramarket.cli import app, reloading\n"
        f"reloading.watched_folders = lambda: [Path({str(watched)!r})]\n"
        "app()"
    )
    process = start(
        "up", "--reload", "--json", "--port", "0", "--data-dir", str(tmp_path / "data"),
        command=(sys.executable, "-c", script),
    )  # fmt: skip
    first = process.ready()
    database = (tmp_path / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0]
    (watched / "actor.py").write_text("")
    second = process.ready()
    assert second["docs"] != first["docs"] or "staff_key" not in second
    assert get(f"{second['url']}/health/ready")["status"] == "ok"
    assert (tmp_path / "data" / "postgres" / "postmaster.pid").read_text().splitlines()[0] == database
    code, stderr = process.end(signal.SIGTERM)
    assert code == 0
    assert f"{watched}/actor.py changed: starting anew." in stderr
    assert running_dsn(tmp_path / "data") is None


async def test_a_signal_before_the_platform_serves_cancels_the_start() -> None:
    task = asyncio.create_task(asyncio.sleep(3600))
    stop = Stop(task, 3600)
    stop.on_signal(signal.SIGTERM)
    assert stop.asked.is_set()
    with pytest.raises(asyncio.CancelledError):
        await task
    stop.ended()


def test_a_stop_that_hangs_ends_with_the_grace_period() -> None:
    script = (
        "import asyncio, time, signal\n"
        "from ultramarket.cli.server import Stop\n"
        "async def main():\n"
        "    Stop(asyncio.current_task(), 0.1).on_signal(signal.SIGTERM)\n"
        "    time.sleep(3600)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the stop did not end within the grace period" in done.stdout + done.stderr


def test_an_end_by_failure_that_hangs_is_bounded_like_a_stop() -> None:
    script = (
        "import asyncio, time\n"
        "from ultramarket.cli.server import Stop\n"
        "async def main():\n"
        "    try:\n"
        "        with Stop(asyncio.current_task(), 0.1).bounding():\n"
        "            raise OSError\n"
        "    finally:\n"
        "        time.sleep(3600)\n"
        "asyncio.run(main())"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the stop did not end within the grace period" in done.stdout + done.stderr


def test_a_signal_during_the_first_start_ends_in_order(start: Start, tmp_path: Path) -> None:
    process = start("up", "--port", "0", "--data-dir", str(tmp_path))
    while not (tmp_path / "postgres.lock").exists():
        assert process.popen.poll() is None
    code, stderr = process.end(signal.SIGTERM)
    assert (code, "Traceback" in stderr) == (0, False)


def test_the_dsn_of_a_server_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert running_dsn(tmp_path) is None
    (tmp_path / "postgres").mkdir()
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{tmp_path}\n1\n5432\n{tmp_path}\n\n0 0\nready   \n")
    assert running_dsn(tmp_path) is None  # this process is no postgres
    pid_file.write_text(f"{os.getpid()}\n")
    assert running_dsn(tmp_path) is None
    pid_file.unlink()
    pid_file.mkdir()
    with pytest.raises(UltraMarketError, match="can't be looked at"):
        running_dsn(tmp_path)


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ultramarket.cli", "--version"], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.count(".") == 2
