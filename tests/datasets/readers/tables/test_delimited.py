"""Rows of CSV and TSV: any line end is accepted, and malformed rows are named one by one."""

from pathlib import Path

import pytest

from tests.support.datasets.table_rows import as_csv, cells, rows_of


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_accepted(tmp_path: Path, ends: str) -> None:
    rows, notes = rows_of(tmp_path, ends.join(("text,label", '"a b",pos', "c,neg")))
    assert (cells(rows), notes) == ([("a b", "pos"), ("c", "neg")], [])


def test_mixed_line_ends_are_accepted(tmp_path: Path) -> None:
    assert len(rows_of(tmp_path, "a,b\r\n1,2\n3,4\r5,6")[0]) == 3


def test_lines_ending_with_a_delimiter_lose_nothing(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, "a,b\n1,2,\n3,4,\n")[0]) == [("1", "2"), ("3", "4")]


def test_rows_with_a_wrong_number_of_cells_are_named(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, "a,b\n1,2,3\n4\n5,6\n")
    assert cells(rows) == [
        "expected 2 cells as in the header, got 3",
        "expected 2 cells as in the header, got 1",
        ("5", "6"),
    ]


def test_repeated_header_is_no_row(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, " a ,b\n1,2\na,b \n3,4\n")[0])[1] == "repeats the header"


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    rows, notes = rows_of(tmp_path, b"a,b\n1,\xff\n2,\0\n3,4\n")
    assert cells(rows) == ["is not UTF-8 text", "holds NUL characters, which no text does", ("3", "4")]
    assert notes == ["rows that are not UTF-8 text: 1; save the file as UTF-8"]


@pytest.mark.parametrize("rest", ["half of, a wo", "half of\n a wo", "half", ""])
def test_truncated_last_row_is_named_alone(tmp_path: Path, rest: str) -> None:
    good = "".join(f'"some, {i} words",{("no", "yes")[i % 2]}\n' for i in range(40))
    rows, notes = rows_of(tmp_path, f'text,label\n{good}"{rest}')
    assert cells(rows)[39:] == [("some, 39 words", "yes"), "ends inside of a quoted cell; the file seems to be cut off"]
    assert notes == []


@pytest.mark.parametrize("rest", ['"half","ye', '"half","', '"half of'])
def test_truncated_last_row_of_a_quoted_file_is_named(tmp_path: Path, rest: str) -> None:
    good = "".join(f'"words {i}","{("no", "yes")[i % 2]}"\n' for i in range(40))
    rows, notes = rows_of(tmp_path, f"text,label\n{good}{rest}")
    assert cells(rows)[39:] == [("words 39", "yes"), "ends inside of a quoted cell; the file seems to be cut off"]
    assert notes == []


@pytest.mark.parametrize("between", ["word, ", "word ", "word,\n"])
def test_too_long_cell_is_named(tmp_path: Path, between: str) -> None:
    texts = [f"some, {i} words" for i in range(6)]
    texts[2] = between * (1_500_000 // len(between))
    rows, notes = rows_of(tmp_path, as_csv([("text", "label"), *((text, "yes") for text in texts)]))
    assert [row.problem for row in rows] == ["", "", "holds a cell of more than 1048576 bytes", "", "", ""]
    assert notes == []
