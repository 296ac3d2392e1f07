"""`ultramarket up --reload`: a server process that is started anew whenever a file changes, over one database."""

import os
import subprocess
import sys
import time
from pathlib import Path

import ultramarket
from ultramarket.adapters import embedded_postgres_child
from ultramarket.cli.printing import note
from ultramarket.settings import Settings, config_dir

SUFFIXES = frozenset({".py", ".toml", ".sql", ".html"})
_LOOK_SECONDS = 0.5
_PACKAGES = ("ultramarket", "actors", "web")
_SPARE_SECONDS = 5.0  # beyond the grace period that the server itself keeps

Snapshot = dict[Path, int]


def run(settings: Settings, dsn: str, *, demo: bool, json: bool) -> None:
    """Keep a server process on this database, one after the other, until interrupted."""
    folders = watched_folders()
    while True:
        before = snapshot(folders)
        server = _start(settings, dsn, demo=demo, json=json)
        try:
            changed = _wait(server, folders, before)
        except KeyboardInterrupt:
            _end(server, settings)
            raise
        note(f"{changed} changed: starting anew.")
        _end(server, settings)


def watched_folders() -> list[Path]:
    """Where the platform's own files are."""
    root = Path(ultramarket.__file__).parents[1]
    return [*(root / package for package in _PACKAGES), config_dir()]


def snapshot(folders: list[Path]) -> Snapshot:
    """Every watched file with the time of its last change, in nanoseconds."""
    found: Snapshot = {}
    for folder in folders:
        for parent, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if name != "__pycache__"]
            for name in names:
                path = Path(parent, name)
                if path.suffix in SUFFIXES and path.exists():
                    found[path] = path.stat().st_mtime_ns
    return found


def difference(before: Snapshot, after: Snapshot) -> Path | None:
    """A file that is new, changed or gone."""
    changed = dict(before.items() ^ after.items())
    return min(changed) if changed else None


def _start(settings: Settings, dsn: str, *, demo: bool, json: bool) -> subprocess.Popen[bytes]:
    options = ["--host", settings.http_host, "--port", str(settings.http_port), "--data-dir", str(settings.data_dir)]
    options += ["--demo"] if demo else []
    options += ["--json"] if json else []
    command = [sys.executable, "-m", "ultramarket.cli", "up", *options]
    # It dies with this process, which holds its database; Ctrl-C reaches this process alone and is handed on.
    guard = [sys.executable, "-I", "-S", embedded_postgres_child.__file__, "exec", str(os.getpid())]
    return subprocess.Popen(  # noqa: S603 - a list of our own, no shell
        [*guard, *command], env=os.environ | {"ULTRAMARKET_DATABASE_URL": dsn}, start_new_session=True
    )


def _wait(server: "subprocess.Popen[bytes]", folders: list[Path], before: Snapshot) -> Path:
    """Wait for a change; a server that ended by itself, e.g. over a mistake in the source, waits for its repair."""
    told = False
    while (changed := difference(before, snapshot(folders))) is None:
        if not told and server.poll() is not None:
            note(f"The server ended with {server.returncode}; it is started anew when a file changes.")
            told = True
        time.sleep(_LOOK_SECONDS)
    return changed


def _end(server: "subprocess.Popen[bytes]", settings: Settings) -> None:
    """Ask the server to stop, and end it if it does not within its grace period."""
    server.terminate()
    try:
        server.wait(settings.grace_seconds + _SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
