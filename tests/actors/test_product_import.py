"""Import: a job starts once, says how far it is, ends once, and gives its file up at the end."""

from datetime import timedelta

import pytest

from actors.product_import import Import
from tests.actors.harness import NOON, Entity
from ultramarket.messages.product_import import (
    DropUpload,
    FinishImport,
    ImportCounts,
    ImportFinished,
    ImportKept,
    ImportReported,
    ImportStarted,
    RefusedRow,
    ReportImport,
    RunImport,
    StartImport,
)
from ultramarket.runtime.actor import Send

SOME = ImportCounts(rows=10, products=3, variants=5)
ALL = ImportCounts(
    rows=20,
    products=6,
    variants=9,
    unchanged=1,
    refused_total=1,
    refused=(RefusedRow(7, "no price"),),
    notes=("a note",),
)


def started() -> Entity:
    return Entity(Import()).given(ImportStarted(at=NOON, currency="EUR", dry_run=True))


def test_a_job_starts_its_worker() -> None:
    it = Entity(Import())
    outcome = it.when(StartImport(currency="EUR", dry_run=True))
    assert outcome.events == (ImportStarted(at=NOON, currency="EUR", dry_run=True),)
    assert outcome.sends == (Send("importer", "one", RunImport(currency="EUR", dry_run=True)),)
    assert outcome.reply == ImportKept(id="one", version=1)
    assert (it.shown().status, it.shown().dry_run, it.shown().failure) == ("running", True, None)


def test_a_job_that_exists_says_how_it_stands() -> None:
    outcome = started().when(StartImport(currency="USD"))
    assert (outcome.events, outcome.sends, outcome.reply) == ((), (), ImportKept(id="one", version=1))


def test_a_job_needs_a_known_currency() -> None:
    assert Entity(Import()).when(StartImport(currency="euro")).pointers == ["/currency"]


def test_progress_is_kept_where_there_is_some() -> None:
    it = started()
    outcome = it.when(ReportImport(counts=SOME))
    assert outcome.events == (ImportReported(at=NOON, counts=SOME),)
    assert (outcome.reply, outcome.sends) == (ImportKept(id="one", version=2), ())
    again = it.when(ReportImport(counts=SOME))
    assert (again.events, again.reply) == ((), ImportKept(id="one", version=2))
    assert (it.shown().rows, it.shown().products, it.shown().variants) == (10, 3, 5)


def test_progress_of_nothing_is_not_found() -> None:
    assert Entity(Import()).when(ReportImport(counts=SOME)).rejection.status == 404


@pytest.mark.parametrize(("failure", "status"), [("", "done"), ("the file is empty", "failed")])
def test_a_job_ends_once_and_gives_its_file_up(failure: str, status: str) -> None:
    it = started()
    later = NOON + timedelta(seconds=9)
    outcome = it.when(FinishImport(counts=ALL, failure=failure), now=later)
    assert outcome.events == (ImportFinished(at=later, counts=ALL, failure=failure),)
    assert outcome.sends == (Send("importer", "one", DropUpload()),)
    shown = it.shown()
    assert (shown.status, shown.failure, shown.rows, shown.unchanged) == (status, failure or None, 20, 1)
    assert (shown.refused_total, shown.refused, shown.notes) == (1, (RefusedRow(7, "no price"),), ("a note",))
    assert (shown.created_at, shown.updated_at) == (NOON, later)
    assert it.when(FinishImport(counts=ALL)).events == ()
    assert it.when(ReportImport(counts=SOME)).events == ()


def test_the_end_of_nothing_changes_nothing() -> None:
    assert Entity(Import()).when(FinishImport(counts=ALL)).events == ()


def test_a_log_that_does_not_begin_with_the_start_is_an_error() -> None:
    with pytest.raises(ValueError, match="before the import's start"):
        Import().evolve(None, ImportReported(at=NOON, counts=SOME))
