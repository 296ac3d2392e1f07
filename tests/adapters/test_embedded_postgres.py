import contextlib
import os
import re
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ultramarket.adapters import embedded_postgres_cluster as cluster
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.errors import UltraMarketError

PARENT = """
import sys
from pathlib import Path
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def parent_process(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of its own that has started the server, and its DSN."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        try:
            assert parent.stdout is not None
            yield parent, parent.stdout.readline().strip()
        finally:
            parent.kill()


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def wait_for_death(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        readable, _, _ = select.select([descriptor], [], [], 20)
        assert readable, "the server outlived its parent"
    finally:
        os.close(descriptor)


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_first_start_makes_a_utf8_database_that_syncs_and_speaks_only_on_a_socket(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data") as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            shown = {
                name: await connection.fetchval(f"SHOW {name}")
                for name in ("server_encoding", "fsync", "listen_addresses", "data_checksums", "jit", "timezone")
            }
            assert shown == {
                "server_encoding": "UTF8",
                "fsync": "on",
                "listen_addresses": "",
                "data_checksums": "on",
                "jit": "off",
                "timezone": "UTC",
            }
            (place,) = await connection.fetch(
                "SELECT datlocprovider::text AS provider, datlocale AS locale FROM pg_database"
                " WHERE datname = current_database()"
            )
            assert dict(place) == {"provider": "b", "locale": "C.UTF-8"}
            assert await connection.fetchval("SELECT to_tsvector('simple', 'Größe, XL')::text") == "'größe':1 'xl':2"
            assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        finally:
            await connection.close()


async def test_what_was_written_is_there_after_a_second_start(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    await ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert await ask(server.start(), "SELECT answer FROM kept") == 42
    server.stop()
    server.stop()


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as dsn, pytest.raises(asyncpg.InvalidPasswordError):
        await ask(re.sub(r":[^:@]+@", ":guess@", dsn), "SELECT 1")


def test_no_file_of_the_server_is_open_to_others(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with EmbeddedPostgres(data_dir):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert modes == {
        "postgres": 0o700,
        "postgres.lock": 0o600,
        "postgres.log": 0o600,
        "postgres.password": 0o600,
    }


async def test_a_path_too_long_for_a_socket_and_full_of_odd_characters_works(tmp_path: Path) -> None:
    data_dir = tmp_path / 'a shop\'s "data", with commas & more' / ("x" * 120)
    with EmbeddedPostgres(data_dir) as dsn:
        assert await ask(dsn, "SELECT 1") == 1
    short = tmp_path / 'it\'s "odd"'
    with EmbeddedPostgres(short) as dsn:
        assert await ask(dsn, "SELECT 1") == 1
    with EmbeddedPostgres(tmp_path / "a, b") as dsn:
        assert await ask(dsn, "SELECT 1") == 1


def test_a_socket_directory_prepared_by_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = EmbeddedPostgres(tmp_path / ("x" * 120))
    owner = cluster.Owner(tmp_path / "none")
    made = server._socket_directory(owner)
    assert server._socket_directory(owner) == made
    assert made.name.startswith("ultramarket-")
    server.stop()
    assert not made.exists()
    made.symlink_to(tmp_path)
    with pytest.raises(UltraMarketError, match="belongs to somebody else"):
        server._socket_directory(owner)


def test_a_second_start_says_who_holds_the_directory_and_since_when(tmp_path: Path) -> None:
    with parent_process(tmp_path) as (parent, _):
        with pytest.raises(UltraMarketError, match=rf"in use by process {parent.pid} since \d{{4}}-\d\d-\d\dT"):
            EmbeddedPostgres(tmp_path).start()
        (tmp_path / "postgres.lock").write_text("{")
        with pytest.raises(UltraMarketError, match="in use by another process: stop that"):
            EmbeddedPostgres(tmp_path).start()


def test_one_object_starts_once(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    with server, pytest.raises(UltraMarketError, match="already started by this process"):
        server.start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal of death is Linux's")
async def test_the_server_dies_with_a_parent_that_is_killed_and_its_data_comes_back(tmp_path: Path) -> None:
    with parent_process(tmp_path) as (parent, dsn):
        await ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        server = postmaster(tmp_path)
        parent.kill()
        wait_for_death(server)
    with EmbeddedPostgres(tmp_path) as dsn:
        assert await ask(dsn, "SELECT answer FROM kept") == 42


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal of death is Linux's")
async def test_a_start_right_after_a_kill_waits_for_the_dying_server(tmp_path: Path) -> None:
    with parent_process(tmp_path) as (parent, dsn):
        await ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        parent.kill()
        parent.wait()
        with EmbeddedPostgres(tmp_path) as again:
            assert await ask(again, "SELECT answer FROM kept") == 42


async def test_a_server_killed_alone_leaves_a_lock_that_is_recovered(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    await ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(postmaster(tmp_path), signal.SIGKILL)
    server.stop()
    assert (tmp_path / "postgres" / "postmaster.pid").exists()
    assert await ask(server.start(), "SELECT answer FROM kept") == 42
    server.stop()


async def test_a_lock_that_names_a_living_stranger_is_recovered_and_the_stranger_lives(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    os.kill(postmaster(tmp_path), signal.SIGKILL)
    server.stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lock = tmp_path / "postgres" / "postmaster.pid"
        lock.write_text("\n".join([str(stranger.pid), *lock.read_text().splitlines()[1:]]) + "\n")
        assert await ask(server.start(), "SELECT 1") == 1
        server.stop()
        assert stranger.poll() is None
        stranger.kill()


async def test_a_server_left_alive_by_a_dead_parent_is_ended_first(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    orphan, server._server = server._server, None
    server.stop()
    assert orphan is not None
    with EmbeddedPostgres(tmp_path) as dsn:
        assert await ask(dsn, "SELECT 1") == 1
        assert postmaster(tmp_path) != orphan.pid
    assert orphan.wait(10) == 0


def test_two_servers_never_share_a_directory_even_if_the_first_is_not_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmbeddedPostgres(tmp_path)
    first.start()
    assert first._lock is not None
    first._lock.close()
    monkeypatch.setattr("ultramarket.adapters.embedded_postgres._is_server", lambda *_: False)
    monkeypatch.setattr("ultramarket.adapters.embedded_postgres._START_SECONDS", 1.0)
    with pytest.raises(UltraMarketError, match="pre-existing shared memory block"):
        EmbeddedPostgres(tmp_path).start()
    first.stop()


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path):
        assert (tmp_path / "postgres" / "PG_VERSION").read_text() == "18\n"
    assert not (tmp_path / "postgres.new").exists()


def test_another_major_version_is_refused_with_the_commands_that_move_it(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(UltraMarketError) as refused:
        EmbeddedPostgres(tmp_path).start()
    text = str(refused.value)
    assert "was written by PostgreSQL 17 and this version brings PostgreSQL 18" in text
    for command in (
        "'embedded-postgres==17.*'",
        "pg_dump",
        f"mv {tmp_path}/postgres {tmp_path}/postgres-17",
        "pg_restore",
    ):
        assert command in text


def test_the_commands_that_move_a_directory_do_move_it(tmp_path: Path) -> None:
    """Run as printed, with the present binaries in the part of the old ones."""
    server = EmbeddedPostgres(tmp_path)
    dsn = server.start()
    psql = str(cluster.binaries() / "psql")
    subprocess.run([psql, dsn, "-qc", "CREATE TABLE kept AS SELECT 42 AS answer"], check=True)
    server.stop()
    owner = cluster.Owner(tmp_path / "postgres")
    for line in cluster.moving_commands(tmp_path, "17").splitlines():
        command = line.strip()
        if command.startswith(("python3 -m venv", "/tmp/postgres-17/bin/pip", "OLD=", "NEW=")):  # noqa: S108
            continue
        if command.startswith("ultramarket"):
            with EmbeddedPostgres(tmp_path):
                continue
        shell = f'OLD={cluster.binaries()}; NEW="$OLD"; {command}'
        done = subprocess.run(
            [*owner.prefix, "bash", "-c", shell],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)
    with EmbeddedPostgres(tmp_path) as dsn:
        shown = subprocess.run(
            [psql, dsn, "-Atc", "SELECT answer FROM kept"], check=True, capture_output=True, text=True
        )
    assert shown.stdout == "42\n"


def test_a_directory_that_is_none_of_postgres_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "precious.txt").write_text("mine")
    with pytest.raises(UltraMarketError, match="is no PostgreSQL data directory"):
        EmbeddedPostgres(tmp_path).start()
    assert (tmp_path / "postgres" / "precious.txt").read_text() == "mine"


def test_a_server_that_cannot_start_says_what_its_log_says(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "postgres" / "postgresql.conf").write_text("shared_bufers = 1\n")
    server = EmbeddedPostgres(tmp_path)
    with pytest.raises(UltraMarketError, match='unrecognized configuration parameter "shared_bufers"'):
        server.start()
    (tmp_path / "postgres" / "postgresql.conf").write_text("")
    server.start()
    server.stop()


def test_the_server_is_started_in_the_main_thread_only(tmp_path: Path) -> None:
    failures: list[UltraMarketError] = []

    def start() -> None:
        try:
            EmbeddedPostgres(tmp_path).start()
        except UltraMarketError as error:
            failures.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [str(failure) for failure in failures] == [
        "The embedded PostgreSQL has to be started in the main thread: it dies with it."
    ]


def test_a_large_log_is_put_aside_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "postgres.log").write_bytes(b"x" * 10_000_001)
    with EmbeddedPostgres(tmp_path):
        assert (tmp_path / "postgres.log.1").stat().st_size == 10_000_001
        assert (tmp_path / "postgres.log").stat().st_size < 10_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_root_without_user_namespaces_runs_it_as_nobody_and_it_still_dies_with_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_namespaces_allowed", lambda: False)
    with EmbeddedPostgres(tmp_path / "data") as dsn:
        assert await ask(dsn, "SELECT 1") == 1
        assert Path(f"/proc/{postmaster(tmp_path / 'data')}").stat().st_uid == 65534
    assert (tmp_path / "data" / "postgres").stat().st_uid == 65534
    monkeypatch.undo()
    with parent_process(tmp_path / "data") as (parent, _):  # namespaces allowed again: it stays nobody's
        server = postmaster(tmp_path / "data")
        assert Path(f"/proc/{server}").stat().st_uid == 65534
        parent.kill()
        wait_for_death(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_any_means_to_become_somebody_else_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UltraMarketError, match="start the platform as a normal user"):
        EmbeddedPostgres(tmp_path).start()


@pytest.mark.skipif(not Path("/bin/ps").exists(), reason="macOS has it; here it only stands in for macOS")
def test_an_orphan_is_known_by_ps_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultramarket.adapters.embedded_postgres._LINUX", False)
    server = EmbeddedPostgres(tmp_path)
    server.start()
    watcher, process = server._watcher, server._server
    assert watcher is not None
    assert watcher.stdin is not None
    assert process is not None
    server._watcher = server._server = None
    server.stop()
    with EmbeddedPostgres(tmp_path):
        assert process.wait(10) == 0
    watcher.stdin.close()
    assert watcher.wait(10) == 0


def test_where_the_kernel_gives_no_signal_of_death_a_watcher_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultramarket.adapters.embedded_postgres._LINUX", False)
    server = EmbeddedPostgres(tmp_path)
    server.start()
    watcher, process = server._watcher, server._server
    server._watcher = None
    assert watcher is not None
    assert watcher.stdin is not None
    assert process is not None
    watcher.stdin.close()  # as the kernel does when the parent dies
    assert process.wait(10) == 0
    assert watcher.wait(10) == 0
    server.stop()
