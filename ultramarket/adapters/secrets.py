"""Secrets that the platform makes for itself at its first start and keeps in files of mode 600."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ultramarket.errors import ConfigurationError

STAFF_KEY_PREFIX = "um_staff_"
"""What a staff key begins with, so that people and secret scanners know one when they see it."""
_SHORTEST_STAFF_KEY = 20
_MASTER_KEY_BYTES = 32


def staff_key(data_dir: Path, configured: str) -> tuple[str, bool]:
    """The key that staff calls carry, and whether it was made just now (then it is to be shown, once).

    Args:
        data_dir: where `staff.key` is kept.
        configured: the setting `staff_key`; empty to have one made from 32 random bytes.

    Raises:
        ConfigurationError: the configured key is too short to be safe, or the kept one is damaged.
    """
    if configured:
        if len(configured) < _SHORTEST_STAFF_KEY:
            raise ConfigurationError(
                f"staff_key is too short: give it at least {_SHORTEST_STAFF_KEY} random characters, "
                "or leave it out and one is made."
            )
        return configured, False
    path = data_dir / "staff.key"
    kept, made = keep_secret(path, _new_staff_key)
    key = kept.decode("ascii", "replace").strip()
    if len(key) < _SHORTEST_STAFF_KEY:
        raise ConfigurationError(f"{path} holds no staff key: remove it, and a new one is made at the next start.")
    return key, made


def _new_staff_key() -> bytes:
    return (STAFF_KEY_PREFIX + secrets.token_urlsafe(32)).encode()


def master_key(data_dir: Path, configured: str) -> bytes:
    """The 32 bytes that personal data's keys are sealed with, made at first use and kept in `master.key`.

    Without them sealed data can't be read: a backup of the shop needs them, kept apart from the database's.

    Args:
        data_dir: where `master.key` is kept.
        configured: the setting `master_key`, 64 hexadecimal digits; empty to use the file.

    Raises:
        ConfigurationError: the setting or the file does not hold 32 bytes.
    """
    if configured:
        try:
            given = bytes.fromhex(configured)
        except ValueError:
            given = b""
        if len(given) != _MASTER_KEY_BYTES:
            raise ConfigurationError(
                "master_key must be 64 hexadecimal digits: those in the file master.key of the shop's first process, "
                "or new ones for a new shop, e.g. of `openssl rand -hex 32`."
            )
        return given
    path = data_dir / "master.key"
    kept, _ = keep_secret(path, lambda: secrets.token_bytes(_MASTER_KEY_BYTES).hex().encode())
    try:
        key = bytes.fromhex(kept.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _MASTER_KEY_BYTES:
        raise ConfigurationError(
            f"{path} is damaged (it must hold 64 hexadecimal digits): bring it back from a backup."
        )
    return key


def keep_secret(path: Path, make: Callable[[], bytes]) -> tuple[bytes, bool]:
    """The secret kept at `path`, made and stored first if there is none, and whether it was made.

    The file appears complete, on disk and of mode 600, or not at all; of two processes that make one at the same time
    both get the same.
    """
    try:
        return path.read_bytes().strip(), False
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(make() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)  # fails where a rename would replace
        made = True
    except FileExistsError:
        made = False
    finally:
        draft.unlink()
    sync_directory(path.parent)
    return path.read_bytes().strip(), made


def sync_directory(path: Path) -> None:
    """Makes a rename or a new file in this directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
