import re
import stat
from pathlib import Path

import pytest

from ultramarket.adapters.secrets import keep_secret, master_key, staff_key
from ultramarket.errors import ConfigurationError


def test_a_staff_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    key, made = staff_key(data_dir, "")
    assert re.fullmatch(r"um_staff_[A-Za-z0-9_-]{43}", key)
    assert made is True
    assert staff_key(data_dir, "") == (key, False)
    assert stat.S_IMODE((data_dir / "staff.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert [path.name for path in data_dir.iterdir()] == ["staff.key"]


def test_a_configured_staff_key_goes_before_and_is_not_stored(tmp_path: Path) -> None:
    assert staff_key(tmp_path, "a-configured-key-of-the-shop") == ("a-configured-key-of-the-shop", False)
    assert list(tmp_path.iterdir()) == []


def test_a_short_or_damaged_staff_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="staff_key is too short"):
        staff_key(tmp_path, "secret")
    (tmp_path / "staff.key").write_text("")
    with pytest.raises(ConfigurationError, match="holds no staff key: remove it"):
        staff_key(tmp_path, "")


def test_the_master_key_has_32_bytes_and_stays_the_same(tmp_path: Path) -> None:
    key = master_key(tmp_path, "")
    assert len(key) == 32
    assert master_key(tmp_path, "") == key
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600


def test_a_master_key_that_is_given_is_used_and_no_file_made(tmp_path: Path) -> None:
    assert master_key(tmp_path, "0f" * 32) == b"\x0f" * 32
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match="must be 64 hexadecimal digits"):
        master_key(tmp_path, "0f" * 31)


@pytest.mark.parametrize("damaged", ["", "zz", "00" * 31, "€"])
def test_a_damaged_master_key_is_never_replaced(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "master.key").write_text(damaged)
    with pytest.raises(ConfigurationError, match="bring it back from a backup"):
        master_key(tmp_path, "")
    assert (tmp_path / "master.key").read_text() == damaged


def test_of_two_that_make_a_secret_at_once_both_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def overtaken() -> bytes:
        path.write_bytes(b"first\n")
        return b"second"

    assert keep_secret(path, overtaken) == (b"first", False)
    assert [left.name for left in tmp_path.iterdir()] == ["secret"]
