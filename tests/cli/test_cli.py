import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ultramarket
from ultramarket import cli
from ultramarket.cli import app, printing


def test_every_command_explains_itself_with_an_example(runner: CliRunner) -> None:
    for command in (
        ("up",), ("serve",), ("start",), ("worker",), ("web",), ("migrate",), ("status",), ("doctor",), ("openapi",),
        ("import", "products"),
        ("parked", "list"), ("parked", "show"), ("parked", "retry"), ("parked", "drop"),
    ):  # fmt: skip
        result = runner.invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert f"ultramarket {' '.join(command)}" in result.stdout.split("For example:")[1]


def test_the_version_is_the_package_s(runner: CliRunner) -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"{ultramarket.__version__}\n"


def test_an_unknown_command_is_a_usage_error(runner: CliRunner) -> None:
    result = runner.invoke(app, ["doctr"])
    assert result.exit_code == 2
    assert "Did you mean 'doctor'?" in result.stderr


def test_a_wrong_setting_is_one_sentence_and_exit_code_2(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULTRAMARKET_HTTP_PRT", "1")
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "Error: The environment variable ULTRAMARKET_HTTP_PRT is unknown: did you mean ULTRAMARKET_HTTP_PORT?\n"
    )


def test_a_failure_is_one_sentence_and_exit_code_1(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["status", "--data-dir", str(tmp_path / "nothing")])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: There is no shop in {tmp_path}/nothing yet: make one with `ultramarket up`, or say where it is with "
        "--data-dir or ULTRAMARKET_DATABASE_URL.\n"
    )
    assert not (tmp_path / "nothing").exists()


def test_debug_lets_the_error_through_with_its_traceback(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["--debug", "status", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, cli.printing.UltraMarketError)


def test_a_database_that_is_away_is_told_in_a_sentence(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULTRAMARKET_DATABASE_URL", "postgresql://nobody:hidden@127.0.0.1:1/nothing")
    result = runner.invoke(app, ["status"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database can't be reached: ")
    assert "hidden" not in result.stderr


def test_a_fault_of_the_program_ends_in_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise TypeError("one and one is three")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(sys, "argv", ["ultramarket", "status"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "Error: TypeError: one and one is three. This is a fault of the program; "
        "--debug before the command says where.\n"
    )
    monkeypatch.setattr(sys, "argv", ["ultramarket", "--debug", "status"])
    with pytest.raises(TypeError, match="three"):
        cli.main()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (200_000, "2 d"), (-3, "0 s")]
)
def test_an_age_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert printing.age(seconds) == text


def test_a_table_holds_back_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    printing.say_table(("Name", "Count"), [("x" * 300, 1234567)])
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["Name", "Count"]
    assert row.split() == ["x" * 300, "1,234,567"]
