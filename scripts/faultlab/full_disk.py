"""The disk of the database fills up while buyers buy, and gets room again."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from scripts.faultlab.crowd import EXTERNAL, IMPATIENT, Crowd, afterwards, shopping, told
from scripts.faultlab.findings import Finding, Size
from tests.e2e.server import Server
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres, running_dsn

MIB = 1 << 20
SMALL, LARGE = 400, 1200
"""MiB of the disk before and after."""
LEFT = 12
"""MiB that are left when buyers begin to fill it: less than one more segment of the write-ahead log."""
LEFT_FOR_DATA = 1
"""MiB that are left where only tables and indexes grow."""
ANSWERS = 60
AFTER_ANSWERS = 100
FULL_SECONDS = 60.0


class NotAllowed(Exception):
    """This user may not mount a file system."""


async def run(place: Path, size: Size) -> list[Finding]:
    """Buy until the disk is full, while it is, and afterwards; with the log of the database on it and without."""
    findings: list[Finding] = []
    for name, left, log_beside in (("full disk", LEFT, False), ("full disk, log elsewhere", LEFT_FOR_DATA, True)):
        try:
            with _disk(place / name) as disk:
                findings += await _run(place / f"shop of {name}", disk, size, name, left, log_beside=log_beside)
        except NotAllowed as refused:
            findings.append(Finding(fault=name, must="nothing is lost", measured=f"not tried: {refused}", held=None))
    return findings


async def _run(place: Path, disk: Path, size: Size, name: str, left: int, *, log_beside: bool) -> list[Finding]:
    database = EmbeddedPostgres(disk)
    dsn = database.start()
    try:
        if log_beside:
            database.stop()
            _move_log(disk / "postgres", place / "log")
            dsn = database.start()
        server = Server(place / "data", settings={**IMPATIENT, EXTERNAL: dsn})
        async with server, shopping(server, seed=13) as crowd:
            await crowd.until_answered(ANSWERS)
            before = crowd.seen
            _fill(disk, left)
            filled = await _until_refused(crowd, before[503])
            await asyncio.sleep(size.full)
            live, _ = await crowd.look("/health/live")
            during = crowd.seen - before
            _mount("remount", disk, LARGE)
            died = running_dsn(disk) is None
            if died:  # as the service manager of a database does
                database.stop()
                database.start()
            again = await crowd.until_answered(AFTER_ANSWERS)
            findings = await afterwards(crowd, dsn, name)
    finally:
        database.stop()
    ended = "PostgreSQL had ended and was started again" if died else "PostgreSQL had gone on"
    return [
        Finding(
            fault=f"{name}: no room for {size.full:.0f} s",
            must="the process is alive, and says 503",
            measured=f"the first 503 {filled:.1f} s after; /health/live {live}; answers meanwhile: {dict(during)}",
            held=told(live, during),
        ),
        Finding(
            fault=f"{name}: room again",
            must="it goes on by itself",
            measured=f"{AFTER_ANSWERS} more 2xx {again:.1f} s after; {ended}",
            held=True,
        ),
        *findings,
    ]


async def _until_refused(crowd: Crowd, before: int) -> float:
    began = perf_counter()
    async with asyncio.timeout(FULL_SECONDS):
        while crowd.seen[503] == before:  # noqa: ASYNC110 - buyers fill the disk, which tells nobody
            await asyncio.sleep(0.05)
    return perf_counter() - began


def _move_log(cluster: Path, place: Path) -> None:
    """Put the write-ahead log of a cluster that does not run somewhere else."""
    place.parent.mkdir(parents=True, exist_ok=True)
    owner = (cluster / "pg_wal").stat()
    shutil.copytree(cluster / "pg_wal", place)
    shutil.rmtree(cluster / "pg_wal")
    for path in (place, *place.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    (cluster / "pg_wal").symlink_to(place)


def _fill(disk: Path, left: int) -> None:
    """Leave little room on the disk, in MiB."""
    room = shutil.disk_usage(disk).free - left * MIB
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room)


@contextmanager
def _disk(place: Path) -> Iterator[Path]:
    """A small disk of our own.

    Raises:
        NotAllowed: we may not mount.
    """
    place.mkdir()
    _mount("", place, SMALL)
    try:
        yield place
    finally:
        subprocess.run(("umount", str(place)), check=True)  # noqa: S603, S607 - a list of our own, no shell


def _mount(option: str, place: Path, mebibytes: int) -> None:
    options = ",".join(filter(None, (option, f"size={mebibytes}m")))
    command = ("mount", "-t", "tmpfs", "-o", options, "ultramarket-faults", str(place))
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - a list of our own, no shell
    except FileNotFoundError as error:
        raise NotAllowed(f"there is no program to mount a file system with: {error}") from None
    if done.returncode:
        raise NotAllowed(f"mounting a tmpfs was refused: {done.stderr.strip()}")
