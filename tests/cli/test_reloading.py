import os
from pathlib import Path

from ultramarket.cli.reloading import difference, snapshot, watched_folders


def test_only_sources_and_configuration_are_watched(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    for name in ("a.py", "b.toml", "c.sql", "d.html", "e.log", "__pycache__/f.py"):
        (tmp_path / name).touch()
    assert sorted(path.name for path in snapshot([tmp_path])) == ["a.py", "b.toml", "c.sql", "d.html"]


def test_a_new_a_changed_and_a_lost_file_are_differences(tmp_path: Path) -> None:
    one = tmp_path / "one.py"
    one.touch()
    before = snapshot([tmp_path])
    assert difference(before, snapshot([tmp_path])) is None
    os.utime(one, ns=(1, 1))
    assert difference(before, snapshot([tmp_path])) == one
    one.unlink()
    assert difference(before, snapshot([tmp_path])) == one
    assert difference({}, before) == one


def test_the_packages_and_the_configuration_are_watched() -> None:
    assert [folder.name for folder in watched_folders()] == ["ultramarket", "actors", "web", "config"]
    assert all(folder.is_dir() for folder in watched_folders())
