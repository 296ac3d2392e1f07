"""CSV (RFC 4180) as it comes in: bytes in, records with their line numbers out, memory bounded by one record.

What can't be read is refused, and reading goes on at the next line, so that one quote that is not closed costs its
own row and not the file.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

LARGEST_RECORD = 2**20
"""Most bytes of a line and most characters of a record."""

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Record(msgspec.Struct, frozen=True):
    """A record: the line of the file where it begins, counted from 1, and its cells."""

    line: int
    cells: list[str]


class BadRecord(msgspec.Struct, frozen=True):
    """A record that can't be read: the line where it begins, and why."""

    line: int
    reason: str


class _Line(msgspec.Struct, frozen=True):
    number: int
    text: str
    fault: str = ""


class _NeedMoreError(Exception):
    """The record goes on in lines that have not come yet."""


class _TooLongError(Exception):
    """The record is larger than any real one."""


class RecordReader:
    """Reads records from chunks of bytes as they arrive. The first record is the header; its width is every record's.

    Cells that are missing at the end of a record are blank. A comma, or else a semicolon or a tab, parts the cells:
    what the header uses. Lines without anything in a cell are passed over.
    """

    def __init__(self, one_line: Iterable[str] = ()) -> None:
        """Start reading.

        Args:
            one_line: names of columns, in lower case, that never hold a line break: where one does, a quote is amiss.
        """
        self._one_line_names = frozenset(one_line)
        self._one_line: list[int] = []
        self._width = 0
        self._delimiter = ","
        self._splitter = _LineSplitter()
        self._waiting: deque[_Line] = deque()
        self._ended = False
        self._read_again = 0

    def feed(self, chunk: bytes) -> list[Record | BadRecord]:
        """Take the next bytes of the file; returns the records that are complete."""
        lines = self._splitter.feed(chunk)
        self._waiting.extend(lines)
        return list(self._records()) if lines else []

    def close(self) -> list[Record | BadRecord]:
        """Take the end of the file; returns the records that are left."""
        self._ended = True
        self._waiting.extend(self._splitter.close())
        return list(self._records())

    def _records(self) -> Iterator[Record | BadRecord]:
        while self._waiting:
            try:
                found = self._next()
            except _NeedMoreError:
                return
            if found is not None:
                yield found

    def _next(self) -> Record | BadRecord | None:
        first = self._waiting[0]
        if not self._width:
            self._delimiter = "," if "," in first.text else max(";\t", key=first.text.count)
        taken: list[_Line] = []
        try:
            cells = next(csv.reader(self._texts(taken), delimiter=self._delimiter, strict=True))
            reason = self._misshapen(cells, len(taken))
        except (csv.Error, _TooLongError) as error:
            cells, reason = [], _in_words(error)
        fault = next((line.fault for line in taken if line.fault), "")
        self._drop(1 if reason and self._may_read_again(taken) else len(taken))
        if fault or reason:
            return BadRecord(first.number, fault or reason)
        if not any(map(str.strip, cells)):
            return None
        if not self._width:
            self._width = len(cells)
            self._one_line = [at for at, name in enumerate(cells) if name.strip().lower() in self._one_line_names]
        return Record(first.number, cells[: self._width] + [""] * (self._width - len(cells)))

    def _texts(self, taken: list[_Line]) -> Iterator[str]:
        size = 0
        for line in self._waiting:
            taken.append(line)
            size += len(line.text)
            if size > LARGEST_RECORD:
                raise _TooLongError
            yield line.text
        if not self._ended:
            raise _NeedMoreError

    def _misshapen(self, cells: list[str], lines: int) -> str:
        if not self._width:
            return ""
        if any(cells[self._width :]) or (lines > 1 and len(cells) != self._width):
            return f"it has {len(cells)} cells where the header has {self._width}: a quote or a separator is amiss"
        if lines > 1 and any("\n" in cells[at] or "\r" in cells[at] for at in self._one_line):
            return "a line break stands where none belongs: a quote is probably not closed"
        return ""

    def _may_read_again(self, taken: list[_Line]) -> bool:
        # A file made of nothing but broken quotes would be read over and over; real ones stay far below this.
        self._read_again += sum(len(line.text) for line in taken)
        return self._read_again <= 4 * self._splitter.size + 8 * LARGEST_RECORD

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()


class _LineSplitter:
    """Cuts bytes into numbered lines at LF, CRLF or CR, and says what is wrong with a line."""

    def __init__(self) -> None:
        self.size = 0
        self._rest = b""
        self._number = 0
        self._overlong = False

    def feed(self, chunk: bytes) -> list[_Line]:
        self.size += len(chunk)
        lines = (self._rest + chunk).splitlines(keepends=True)
        # A CR at the very end may be half of a CRLF.
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        found = [self._line(line) for line in lines]
        if len(self._rest) > LARGEST_RECORD:
            self._rest, self._overlong = b"", True
        return found

    def close(self) -> list[_Line]:
        rest, self._rest = self._rest, b""
        return [self._line(rest)] if rest or self._overlong else []

    def _line(self, line: bytes) -> _Line:
        self._number += 1
        if self._overlong or len(line) > LARGEST_RECORD:
            self._overlong = False
            return _Line(self._number, "", f"a line is longer than {LARGEST_RECORD:,} bytes")
        if self._number == 1:
            if line.startswith(_UTF16_BOMS):
                return _Line(1, "", "the file is UTF-16: save it as CSV UTF-8")
            line = line.removeprefix(_UTF8_BOM)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return _Line(self._number, line.decode(errors="replace"), "it is not UTF-8: save the file as CSV UTF-8")
        return _Line(self._number, text, "it holds a NUL character" if "\x00" in text else "")


def _in_words(error: Exception) -> str:
    if isinstance(error, _TooLongError):
        return f"it is longer than {LARGEST_RECORD:,} characters: a quote is probably not closed"
    if "expected after" in str(error):
        return "a quote is not closed, or stands inside a cell without being doubled"
    if "field limit" in str(error):
        return f"a cell is longer than {csv.field_size_limit():,} characters"
    return "a quote is not closed"
