"""Product import: a job that brings a product file in; the entity's kind is `import`. And the words of its worker."""

from datetime import datetime
from typing import Literal

import msgspec

from ultramarket.messages.common import Message

State = Literal["running", "done", "failed"]


class RefusedRow(msgspec.Struct, frozen=True):
    """A row that did not go in: its line in the file, counted from 1, and why."""

    line: int
    reason: str


class ImportCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How far an import is: records read, products and variants created or changed, products that were so already.

    Attributes:
        refused: the first 1,000 refused rows; `refused_total` counts all.
        notes: what was ignored, e.g. unknown columns.
    """

    rows: int = 0
    products: int = 0
    variants: int = 0
    unchanged: int = 0
    refused_total: int = 0
    refused: tuple[RefusedRow, ...] = ()
    notes: tuple[str, ...] = ()


# Commands


class StartImport(Message, frozen=True):
    """Begin to read the upload of the same id. Exists already: 200 with how it stands. Replies `ImportKept`."""

    currency: str
    dry_run: bool = False


class ReportImport(Message, frozen=True):
    """The worker's progress. Replies `ImportKept`."""

    counts: ImportCounts


class FinishImport(Message, frozen=True):
    """Message of the worker: the end. `failure` says why nothing (more) could be read."""

    counts: ImportCounts
    failure: str = ""


class RunImport(Message, frozen=True):
    """Message for the import worker (its id is the import's): read the upload and put the products in."""

    currency: str
    dry_run: bool


class DropUpload(Message, frozen=True):
    """Message for the import worker: the import has ended, its file is not needed any more."""


# Events


class ImportStarted(Message, frozen=True):
    """The job exists."""

    at: datetime
    currency: str
    dry_run: bool


class ImportReported(Message, frozen=True):
    """The job got this far."""

    at: datetime
    counts: ImportCounts


class ImportFinished(Message, frozen=True):
    """The job ended."""

    at: datetime
    counts: ImportCounts
    failure: str


# Reply and the public form


class ImportKept(msgspec.Struct, frozen=True, kw_only=True):
    """The import after a command."""

    id: str
    version: int


class ShownImport(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of an import."""

    id: str
    version: int
    status: State
    dry_run: bool
    rows: int
    products: int
    variants: int
    unchanged: int
    refused_total: int
    refused: tuple[RefusedRow, ...]
    notes: tuple[str, ...]
    failure: str | None
    created_at: datetime
    updated_at: datetime
