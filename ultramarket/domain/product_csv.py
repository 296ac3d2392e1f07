"""Reads products from a CSV in Shopify's layout, as shops export it: bytes in, products and refused rows out.

Rules of the layout: the rows of a product stand together and have its handle; the first one has what belongs to the
product; each row may have a variant, a picture, or both. A handle that returns further down is refused, because
taking it would replace the product that was read above. Memory holds one product, and the handles that were seen.
"""

import unicodedata
from collections.abc import Iterable, Iterator

from ultramarket.domain.csv_records import BadRecord, Record, RecordReader
from ultramarket.domain.handles import handle, handle_fault
from ultramarket.domain.money import currency
from ultramarket.domain.parsed_product import (
    ParsedMedia,
    ParsedOption,
    ParsedProduct,
    ParsedSeo,
    ParsedVariant,
    ProductRows,
    Refused,
)
from ultramarket.domain.product_columns import ONE_LINE, Fault, Header, Row, UnreadableFileError

__all__ = [
    "ParsedMedia",
    "ParsedOption",
    "ParsedProduct",
    "ParsedSeo",
    "ParsedVariant",
    "ProductReader",
    "Refused",
    "UnreadableFileError",
]

_MOST_NOTES = 100


class ProductReader:
    """Reads a product file as its bytes arrive.

    Attributes:
        rows: rows read so far, without header and blank lines; each is in a product or refused once its product has
            been returned.
    """

    def __init__(self, code: str) -> None:
        """Start reading a file whose prices, which name no currency, are in this one.

        Raises:
            ValueError: not an active ISO 4217 currency.
        """
        self.rows = 0
        self._currency = currency(code)
        self._records = RecordReader(ONE_LINE)
        self._header: Header | None = None
        self._group: ProductRows | None = None
        self._seen: set[str] = set()
        self._notes: list[str] = []
        self._notes_left_out = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over without refusing a row, as sentences; the first 100."""
        more = (f"{self._notes_left_out} more notes were left out.",) if self._notes_left_out else ()
        return (*self._notes, *more)

    def read(self, chunks: Iterable[bytes]) -> Iterator[ParsedProduct | Refused]:
        """Read a whole file from an iterable of chunks.

        Raises:
            UnreadableFileError: the file is empty, no CSV, or lacks a column.
        """
        for chunk in chunks:
            yield from self.feed(chunk)
        yield from self.close()

    def feed(self, chunk: bytes) -> list[ParsedProduct | Refused]:
        """Take the next bytes; returns the products that are complete and the rows that are refused.

        Raises:
            UnreadableFileError: the first line is no header of a product file.
        """
        return self._take(self._records.feed(chunk))

    def close(self) -> list[ParsedProduct | Refused]:
        """Take the end of the file; returns what is left.

        Raises:
            UnreadableFileError: the file is empty, or its first line is no header of a product file.
        """
        found = self._take(self._records.close())
        if self._header is None:
            raise UnreadableFileError("the file is empty: the first line must name the columns")
        return found + self._finish()

    def _take(self, records: list[Record | BadRecord]) -> list[ParsedProduct | Refused]:
        found: list[ParsedProduct | Refused] = []
        for record in records:
            if self._header is None:
                self._read_header(record)
                continue
            self.rows += 1
            if isinstance(record, BadRecord):
                found.append(Refused(record.line, record.reason))
            else:
                found += self._add(Row(record.line, record.cells, self._header))
        return found

    def _read_header(self, record: Record | BadRecord) -> None:
        if isinstance(record, BadRecord):
            raise UnreadableFileError(
                f"line {record.line}, which must name the columns, can't be read: {record.reason}"
            )
        self._header = Header.read(record.cells)
        if self._header.ignored:
            self._note(f"Columns that are not read: {', '.join(name[:100] for name in self._header.ignored[:200])}.")

    def _add(self, row: Row) -> list[ParsedProduct | Refused]:
        try:
            name = _handle(row)
        except Fault as fault:
            return [Refused(row.line, str(fault))]
        found: list[ParsedProduct | Refused] = []
        if self._group is None or self._group.handle != name:
            found += self._finish()
            if name in self._seen:
                reason = f"the handle {name!r} was used further up: the rows of a product must stand together"
                return [*found, Refused(row.line, reason)]
            self._seen.add(name)
            self._group = ProductRows(name, row, self._currency, self._note)
        refused = self._group.add(row)
        return [*found, refused] if refused else found

    def _finish(self) -> list[ParsedProduct | Refused]:
        group, self._group = self._group, None
        return [] if group is None else group.finish()

    def _note(self, note: str) -> None:
        if len(self._notes) < _MOST_NOTES:
            self._notes.append(note)
        else:
            self._notes_left_out += 1


def _handle(row: Row) -> str:
    """Return the row's handle, made from what stands there, or from the title, where it is not one as it is."""
    raw = row.text("handle")
    name = unicodedata.normalize("NFC", raw.lower())
    if raw and handle_fault(name) is None:
        return name
    if not raw and not row.text("title"):
        raise Fault("the row has neither a handle nor a title")
    return handle(raw or row.text("title"))
