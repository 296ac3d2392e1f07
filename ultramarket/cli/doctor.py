"""`ultramarket doctor`."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ultramarket.adapters.broker_mailbox import queue_of
from ultramarket.bootstrap import cast, connections_at_most
from ultramarket.cli import checks
from ultramarket.cli.checks import Finding
from ultramarket.cli.database import connected, database_of, load_settings
from ultramarket.cli.log_audit import LogAudit, Report
from ultramarket.cli.options import DataDir, Json
from ultramarket.cli.printing import FAILED, err, out, say, say_json
from ultramarket.domain.shop import ShopRules
from ultramarket.errors import UltraMarketError
from ultramarket.runtime.actor import Actor, Worker
from ultramarket.runtime.partitioning import partitions_of
from ultramarket.settings import Settings, config_files

_MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "failed": "[bold red]failed [/]"}


class Diagnosis(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every finding, and the report on the log when it was read."""

    healthy: bool
    findings: list[Finding]
    log: Report | None = None


def doctor(
    data_dir: DataDir = None,
    *,
    log: Annotated[
        bool,
        typer.Option(
            "--log", help="Read the whole log: numbers without gaps, hash chains, replay equals what is stored."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check settings, database, broker, disk and secrets, and say what to do; exits with 1 if a check fails.

    It changes nothing, and the platform may run meanwhile.

    For example:

      ultramarket doctor

      ultramarket doctor --log --json
    """
    settings = load_settings(data_dir)
    names = " and ".join(path.name for path in config_files())
    findings = [Finding("settings", "ok", f"Valid, from the environment, {names}.")]
    report = None
    try:
        with database_of(settings) as dsn:
            of_database, report = asyncio.run(_examine(dsn, settings, log=log))
        findings += of_database
    except UltraMarketError as error:
        findings.append(Finding("database", "failed", str(error)))
    if settings.broker_url:
        findings += asyncio.run(checks.of_broker(settings.broker_url, _queues(settings.shop)))
    findings += checks.of_files(settings.data_dir)
    if report is not None:
        findings.append(_of_log(report))
    healthy = all(finding.state != "failed" for finding in findings)
    _tell(Diagnosis(healthy, findings, report), json=json)
    if not healthy:
        raise typer.Exit(FAILED)


async def _examine(dsn: str, settings: Settings, *, log: bool) -> tuple[list[Finding], Report | None]:
    async with connected(dsn) as connection:
        findings = await checks.of_database(connection, dsn, connections_at_most(settings))
        if not log:
            return findings, None
        total = await connection.fetchval("select coalesce(sum(tail), 0)::bigint from partition")
        with _progress(total) as advance:
            return findings, await LogAudit(_entities(settings.shop), advance).run(connection)


def _entities(rules: ShopRules) -> list[Actor[Any, Any, Any]]:
    """Every kind of entity."""
    return [part for part in _cast(rules) if isinstance(part, Actor)]


def _queues(rules: ShopRules) -> list[str]:
    """The queues of every kind of actor and worker."""
    return [queue_of(part.kind, no) for part in _cast(rules) for no in range(partitions_of(part.kind))]


def _cast(rules: ShopRules) -> Sequence[Actor[Any, Any, Any] | Worker[Any]]:
    """Actors and workers that nobody asks."""
    nobody: Any = None
    return cast(nobody, rules, {}, nobody, "en")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    console = err()
    if not console.is_terminal:
        yield lambda _events: None
        return
    columns = (TextColumn("Reading the log"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda events: progress.update(task, advance=events)


def _of_log(report: Report) -> Finding:
    read = f"{report.events:,} events of {report.entities:,} entities in {report.partitions:,} partitions"
    if report.wrong:
        return Finding("log", "failed", f"{report.wrong:,} things are wrong in {read}: restore from a backup.")
    older = f" ({report.older:,} of an older shape)" if report.older else ""
    return Finding("log", "ok", f"{read}: no gap, every hash holds, replay gives what is stored{older}.")


def _tell(diagnosis: Diagnosis, *, json: bool) -> None:
    if json:
        say_json(diagnosis)
        return
    console = out()
    for finding in diagnosis.findings:
        console.print(f"{_MARKS[finding.state]} [bold]{finding.check:<13}[/]", end="")
        say(finding.detail)
    for text in diagnosis.log.findings if diagnosis.log is not None else ():
        say(f"  {text}")
