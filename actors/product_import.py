"""Import: a job that brings a product file in. It keeps how far the job is; the importer does the work."""

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

import msgspec

from ultramarket.domain.money import EXPONENTS
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.product_import import (
    DropUpload,
    FinishImport,
    ImportCounts,
    ImportFinished,
    ImportKept,
    ImportReported,
    ImportStarted,
    ReportImport,
    RunImport,
    ShownImport,
    StartImport,
    State,
)
from ultramarket.messages.refusals import invalid, not_found
from ultramarket.runtime.actor import Actor, Context, Decision, Send, Unseal

Command = StartImport | ReportImport | FinishImport
Event = ImportStarted | ImportReported | ImportFinished


class ImportState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it stands; `failure` says why nothing (more) could be read."""

    currency: str
    dry_run: bool = False
    status: State = "running"
    counts: ImportCounts = ImportCounts()
    failure: str = ""
    created_at: datetime
    updated_at: datetime


class Import(Actor[ImportState, Command, Event]):
    """A job runs once; a repeat of any message changes nothing."""

    kind = "import"
    state = ImportState
    commands = Command
    events = Event

    def decide(self, state: ImportState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; see the messages for what each means."""
        match command:
            case StartImport():
                return _start(state, command, ctx)
            case ReportImport():
                if state is None:
                    return not_found("import")
                if state.status != "running" or state.counts == command.counts:
                    return Decision(reply=ImportKept(id=ctx.id, version=ctx.version))
                event = ImportReported(at=ctx.now, counts=command.counts)
                return Decision(events=(event,), reply=ImportKept(id=ctx.id, version=ctx.version + 1))
            case FinishImport():
                if state is None or state.status != "running":
                    return Decision()
                finished = ImportFinished(at=ctx.now, counts=command.counts, failure=command.failure)
                return Decision(events=(finished,))
            case _:
                assert_never(command)

    def evolve(self, state: ImportState | None, event: Event) -> ImportState:
        """Apply an event."""
        if isinstance(event, ImportStarted):
            return ImportState(currency=event.currency, dry_run=event.dry_run, created_at=event.at, updated_at=event.at)
        if state is None:
            raise ValueError(f"{type(event).__name__} stands before the import's start")
        match event:
            case ImportReported():
                return msgspec.structs.replace(state, counts=event.counts, updated_at=event.at)
            case ImportFinished():
                return msgspec.structs.replace(
                    state,
                    status="failed" if event.failure else "done",
                    counts=event.counts,
                    failure=event.failure,
                    updated_at=event.at,
                )
            case _:
                assert_never(event)

    def react(self, event: Event, state: ImportState, ctx: Context) -> Iterable[Send]:
        """The work when the job starts; the file goes only once the end is committed."""
        match event:
            case ImportStarted():
                return (Send("importer", ctx.id, RunImport(currency=event.currency, dry_run=event.dry_run)),)
            case ImportReported():
                return ()
            case ImportFinished():
                return (Send("importer", ctx.id, DropUpload()),)
            case _:
                assert_never(event)

    def show(self, state: ImportState, id: str, version: int, unseal: Unseal) -> ShownImport:
        """The public form."""
        counts = state.counts
        return ShownImport(
            id=id,
            version=version,
            status=state.status,
            dry_run=state.dry_run,
            rows=counts.rows,
            products=counts.products,
            variants=counts.variants,
            unchanged=counts.unchanged,
            refused_total=counts.refused_total,
            refused=counts.refused,
            notes=counts.notes,
            failure=state.failure or None,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


def _start(state: ImportState | None, command: StartImport, ctx: Context) -> Decision | Rejection:
    if state is not None:
        return Decision(reply=ImportKept(id=ctx.id, version=ctx.version))
    if command.currency not in EXPONENTS:
        return invalid([Fault("/currency", f"{command.currency[:20]!r} is not an ISO 4217 currency")])
    event = ImportStarted(at=ctx.now, currency=command.currency, dry_run=command.dry_run)
    return Decision(events=(event,), reply=ImportKept(id=ctx.id, version=ctx.version + 1))
