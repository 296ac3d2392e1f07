import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from ultramarket.cli import app, client
from ultramarket.cli.upload import Bars, Lines, Records

HEAD = "Handle,Title,Variant SKU,Variant Price\n"
GOOD = HEAD + "mug,Mug,MUG-1,9.50\nbowl,Bowl,BOWL-1,12.00\n"
BAD = HEAD + "jar,Jar,JAR-1,cheap\npot,Pot,POT-1,20.00\n"


@pytest.fixture
def shop(kept_shop: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a shop that runs; its data directory is in the settings."""
    monkeypatch.setenv("ULTRAMARKET_DATA_DIR", str(kept_shop[0]))
    url: str = kept_shop[1]["url"]
    return url


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "products.csv"
    path.write_text(text)
    return str(path)


def test_a_file_goes_in_and_the_same_file_again_changes_nothing(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    arguments = ["import", "products", written(tmp_path, GOOD), "--currency", "EUR", "--url", shop, "--json"]
    first = json.loads(runner.invoke(app, arguments).stdout)
    assert (first["status"], first["rows"], first["products"], first["refused"]) == ("done", 2, 2, [])
    second = json.loads(runner.invoke(app, arguments).stdout)
    assert (second["products"], second["variants"], second["unchanged"]) == (0, 0, 2)


def test_refused_rows_are_named_and_count_only_when_strict(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    arguments = ["import", "products", written(tmp_path, BAD), "--url", shop, "--dry-run"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "Nothing was changed: this is what would happen."
    assert "line 2: Variant Price: 'cheap' is not an amount" in result.stdout
    assert runner.invoke(app, [*arguments, "--strict"]).exit_code == 1


def test_a_file_that_is_no_csv_of_products_fails(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["import", "products", written(tmp_path, "one,two\n1,2\n"), "--url", shop])
    assert result.exit_code == 1
    assert "The import failed: " in result.stdout


def test_an_unknown_currency_is_refused_by_the_platform(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["import", "products", written(tmp_path, GOOD), "--url", shop, "--currency", "XYZ"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {shop} refused (4")


def test_a_wrong_staff_key_is_told(runner: CliRunner, shop: str, tmp_path: Path) -> None:
    arguments = [
        "import",
        "products",
        written(tmp_path, GOOD),
        "--url",
        shop,
        "--staff-key",
        "um_staff_of_another_shop",
    ]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert "does not know this staff key" in result.stderr


def test_without_a_staff_key_nothing_is_sent(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(app, ["import", "products", written(tmp_path, GOOD), "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert f"There is no staff key in {tmp_path}/staff.key" in result.stderr


def test_a_platform_that_does_not_run_is_told_with_how_to_start_it(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("ULTRAMARKET_STAFF_KEY", "x" * 30)
    monkeypatch.setenv("ULTRAMARKET_HTTP_PORT", str(port))
    monkeypatch.setenv("ULTRAMARKET_HTTP_HOST", "0.0.0.0")  # noqa: S104 - nothing listens
    result = runner.invoke(app, ["import", "products", written(tmp_path, GOOD)])
    assert (result.exit_code, result.stderr) == (
        1,
        (
            f"Error: Nothing answers at http://127.0.0.1:{port}: start the platform with `ultramarket up`, "
            "or say where it is with --url.\n"
        ),
    )


def test_a_file_that_is_not_there_is_a_usage_error(runner: CliRunner, tmp_path: Path) -> None:
    assert runner.invoke(app, ["import", "products", str(tmp_path / "none.csv")]).exit_code == 2


def test_a_word_that_is_no_url_is_told(runner: CliRunner, tmp_path: Path) -> None:
    arguments = ["import", "products", written(tmp_path, GOOD), "--staff-key", "k", "--url", "http://"]
    assert "is no URL" in runner.invoke(app, arguments).stderr


class Scripted(BaseHTTPRequestHandler):
    """Answers one after the other: (status, content type, body), or None to hang up, as at the end."""

    answers: list[tuple[int, str, bytes] | None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        answer = self.answers.pop(0) if self.answers else None
        self.close_connection = True
        if answer is None:
            return
        self.send_response(answer[0])
        self.send_header("Content-Type", answer[1])
        self.send_header("Content-Length", str(len(answer[2])))
        self.end_headers()
        self.wfile.write(answer[2])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def scripted(*answers: tuple[int, str, bytes] | None) -> Iterator[str]:
    handler = type("Handler", (Scripted,), {"answers": list(answers)})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def job(status: str, version: int) -> tuple[int, str, bytes]:
    body = {
        "id": "i", "version": version, "status": status, "dry_run": False, "rows": 1, "products": 1, "variants": 1,
        "unchanged": 0, "refused_total": 3, "refused": [{"line": 2, "reason": "r"}], "notes": ["n"], "failure": None,
    }  # fmt: skip
    return 200, "application/json", json.dumps(body).encode()


def test_an_import_goes_on_while_the_platform_starts_anew(runner: CliRunner, tmp_path: Path) -> None:
    with scripted(job("running", 1), None, (503, "application/problem+json", b"{}"), job("done", 2)) as url:
        arguments = ["import", "products", written(tmp_path, GOOD), "--staff-key", "k", "--url", url]
        result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == ["line 2: r", "and 2 more rows that were refused"]
    assert result.stderr == "Note: n\n"


def test_a_platform_that_stays_away_is_given_up(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PATIENCE_SECONDS", 0.0)
    with scripted(job("running", 1), None) as url:
        arguments = ["import", "products", written(tmp_path, GOOD), "--staff-key", "k", "--url", url]
        result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: The connection to {url} broke: ")


def test_another_server_at_the_address_is_told(runner: CliRunner, tmp_path: Path) -> None:
    with scripted((200, "text/html", b"<html>")) as url:
        arguments = ["import", "products", written(tmp_path, GOOD), "--staff-key", "k", "--url", url]
        assert runner.invoke(app, arguments).stderr == f"Error: What answers at {url} is no UltraMarket (200).\n"


@pytest.mark.parametrize(
    ("chunks", "count"),
    [
        ([b""], 0),
        ([b"a,b\n"], 0),
        ([b"a,b\n1,2\n3,4"], 2),
        ([b'a,b\n1,"two\nli', b'nes"\n3,"say ""hi"""\n'], 2),
        ([b'a\r\n"x\r\n\r\ny"\r\nz\r\n'], 2),
    ],
)
def test_records_are_counted_as_they_go_by(chunks: list[bytes], count: int) -> None:
    records = Records()
    for chunk in chunks:
        records.feed(chunk)
    assert records.count == count


def test_where_there_is_no_terminal_progress_comes_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.sent(1, 2)
    assert capsys.readouterr().err == ""
    lines._next = 0.0
    lines.sent(1000, 2000)
    lines._next = 0.0
    lines.got({"rows": 1, "products": 2, "variants": 3, "refused_total": 4}, 5000)
    assert capsys.readouterr().err.splitlines() == [
        "1,000 of 2,000 bytes sent",
        "1 of 5,000 rows read, 2 products and 3 variants in, 4 rows refused",
    ]


def test_on_a_terminal_it_comes_in_bars() -> None:
    progress = Progress()
    bars = Bars(progress)
    bars.sent(5, 10)
    assert (progress.tasks[0].completed, progress.tasks[0].total, progress.tasks[0].visible) == (5, 10, True)
    bars.got({"rows": 3}, 9)
    bars.got({"rows": 4}, 9)
    assert (progress.tasks[0].visible, progress.tasks[1].completed, progress.tasks[1].total) == (False, 4, 9)
