import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.csv_records import LARGEST_RECORD, BadRecord, Record, RecordReader


def read(data: bytes, size: int = 0) -> list[Record | BadRecord]:
    reader = RecordReader(["title"])
    chunks = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    return [record for chunk in chunks for record in reader.feed(chunk)] + reader.close()


def faults(data: bytes) -> dict[int, str]:
    return {record.line: record.reason for record in read(data) if isinstance(record, BadRecord)}


def lines(data: bytes) -> list[int]:
    return [record.line for record in read(data) if isinstance(record, Record)]


def test_records_know_the_line_where_they_begin() -> None:
    data = b'handle,title,body\r\na,A,"one\r\ntwo ""quoted"""\r\n\r\nb,B,x\r\n'
    assert read(data) == [
        Record(1, ["handle", "title", "body"]),
        Record(2, ["a", "A", 'one\r\ntwo "quoted"']),
        Record(5, ["b", "B", "x"]),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_chunks_and_line_ends_make_no_difference(size: int, newline: bytes) -> None:
    data = b'\xef\xbb\xbfh,title,b\na,"\xc3\xa4,",\n"b\n\n",B\nc,"C",\n'.replace(b"\n", newline)
    found = read(data, size)
    assert found == read(data)
    assert [record.line for record in found] == [1, 2, 3, 4, 5, 6][: len(found)] or len(found) >= 4
    assert found[1] == Record(2, ["a", "ä,", ""])
    assert found[-1] == Record(6, ["c", "C", ""])


def test_blank_and_missing_cells_at_the_end_are_filled() -> None:
    assert read(b"a,b,c\n1\n,,\n \n1,2,3,,\n") == [
        Record(1, ["a", "b", "c"]),
        Record(2, ["1", "", ""]),
        Record(5, ["1", "2", "3"]),
    ]


@pytest.mark.parametrize("separator", [b";", b"\t"])
def test_semicolons_and_tabs_part_cells_where_the_header_has_them(separator: bytes) -> None:
    assert read(b"a;b\n1;2,5\n".replace(b";", separator)) == [Record(1, ["a", "b"]), Record(2, ["1", "2,5"])]


def test_a_quote_that_is_not_closed_costs_its_own_row_only() -> None:
    data = b'handle,title,body\na,"A,x\nb,B,y\nc,"C, the third",z\nd,D,w\n'
    assert faults(data) == {2: "a quote is not closed, or stands inside a cell without being doubled"}
    assert lines(data) == [1, 3, 4, 5]


def test_a_quote_that_is_never_closed_costs_its_own_row_only() -> None:
    data = b'handle,title,body\na,"A,x\nb,B,y\n'
    assert faults(data) == {2: "a quote is not closed"}
    assert lines(data) == [1, 3]


def test_a_title_that_swallowed_rows_gives_them_back() -> None:
    data = b'handle,title,body\na,"A,x\nb,B,y\nc,"",z\nd",D\ne,E,v\n'
    assert lines(data)[-1] == 6
    assert 2 in faults(data)
    assert 3 in lines(data)


def test_a_line_break_where_none_belongs_is_a_quote_amiss() -> None:
    data = b'handle,title,body\na,"A\nb,B",y\n'
    assert faults(data)[2] == "a line break stands where none belongs: a quote is probably not closed"


def test_too_many_cells_are_a_separator_amiss() -> None:
    assert faults(b"a,b\n1,2,3\n") == {
        2: "it has 3 cells where the header has 2: a quote or a separator is amiss",
    }


def test_bytes_that_are_no_text_cost_their_row_only() -> None:
    data = b"a,b\n\xff,1\n\x00,2\nc,3\n\xed\xa0\x80,4\n"
    assert faults(data) == {
        2: "it is not UTF-8: save the file as CSV UTF-8",
        3: "it holds a NUL character",
        5: "it is not UTF-8: save the file as CSV UTF-8",
    }
    assert lines(data) == [1, 4]


def test_utf_16_is_said_once_at_the_header() -> None:
    found = read("a,b\n1,2\n".encode("utf-16"))
    assert found[0] == BadRecord(1, "the file is UTF-16: save it as CSV UTF-8")


def test_blank_lines_are_passed_over_before_the_header_too() -> None:
    assert read(b",,\n") == []
    assert read(b"\n\na,b\n") == [Record(3, ["a", "b"])]
    assert read(b"") == []


def test_huge_cells_records_and_lines_are_refused_and_the_rest_is_read() -> None:
    cell = b"a,b\n" + b"x" * 200_000 + b",1\nc,3\n"
    assert faults(cell) == {2: "a cell is longer than 131,072 characters"}
    line = b"a,b\n" + b"x" * (LARGEST_RECORD + 1) + b",1\nc,3\n"
    assert faults(line) == {2: "a line is longer than 1,048,576 bytes"}
    assert lines(cell) == lines(line) == [1, 3]


def test_a_line_without_end_is_not_kept() -> None:
    reader = RecordReader()
    reader.feed(b"a,b\n")
    for _ in range(40):
        assert reader.feed(b"x" * 2**17) == []
        assert len(reader._splitter._rest) <= LARGEST_RECORD + 2**17
    assert reader.close() == [BadRecord(2, "a line is longer than 1,048,576 bytes")]


def test_a_record_without_end_is_given_up_after_a_mebibyte() -> None:
    row = b'b,B,"' + b"x" * 995 + b'"\n'
    found = read(b'handle,title,body\na,A,"\n' + b"c,C,y\n" * 200_000 + row)
    assert found[1] == BadRecord(2, "a cell is longer than 131,072 characters")
    assert isinstance(found[-1], Record)
    assert len(found) == 200_003


def test_a_record_of_many_long_cells_is_too_long() -> None:
    data = b"a,b\n" + (b"," + b"x" * 120_000) * 8 + b',"\n' + (b"x" * 99_999 + b'",\n"') * 2 + b"\n"
    assert "it is longer than 1,048,576 characters: a quote is probably not closed" in faults(data).values()


def test_a_file_of_broken_quotes_is_not_read_over_and_over() -> None:
    # Each line opens a cell where it begins a record, and closes and opens one where it goes on with another.
    found = read(b"a,b\n" + b'a",""",\n' * 150_000)
    assert isinstance(found[-1], BadRecord)
    assert len(found) < 150_000


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_records_or_refused_whatever_the_chunks(data: bytes, size: int) -> None:
    assert read(b"a,title\n" + data, size) == read(b"a,title\n" + data)


@given(st.text(alphabet=',"\n\rab;', max_size=60), st.integers(1, 9))
def test_any_text_of_quotes_and_commas_is_read(text: str, size: int) -> None:
    found = read(b"a,title\n" + text.encode(), size)
    numbers = [record.line for record in found]
    assert numbers == sorted(set(numbers))
