"""Rows of CSV and TSV are never merged without a word: each line that can be told apart is a row, the others are named."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets import quoting
from service.datasets.limits import Limits
from service.datasets.tables import Row, Table
from service.errors import InvalidInput

DATA = Path(__file__).parent / "data"
HEAD = "text,label\n" + "".join(f"{('some', 'words')[i % 2]} number {i},{('pos', 'neg')[i % 2]}\n" for i in range(8))


def rows_of(tmp_path: Path, text: str | bytes, name: str = "a.csv") -> tuple[list[Row], list[str]]:
    path = tmp_path / "upload.part"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    notes: list[str] = []
    return list(Table(path, name, Limits()).rows(notes.append)), notes


def cells(rows: list[Row]) -> list[tuple[object, ...]]:
    return [tuple(row.cells.values()) or row.problem for row in rows]  # type: ignore[misc]


def test_a_text_that_begins_with_a_quotation_mark_does_not_swallow_rows(tmp_path: Path) -> None:
    rows, (note,) = rows_of(tmp_path, (DATA / "quotes.tsv").read_bytes(), "quotes.tsv")
    assert len(rows) == 40
    assert rows[5].cells == {"text": '"rude staff and a dirty room number 5', "label": "neg"}
    assert note.startswith("rows 6, 16 of 'quotes.tsv': a quotation mark is not closed")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('"quoted, with a comma",pos', [("quoted, with a comma", "pos")]),
        ('"two\nlines",pos', [("two\nlines", "pos")]),
        ('"a, b\nc",pos', [("a, b\nc", "pos")]),
        ('"doubled ""quotes""",pos', [('doubled "quotes"', "pos")]),
        ('a 5" pipe,pos', [('a 5" pipe', "pos")]),
        ('"He said "hi, you"",pos', [('He said "hi, you"', "pos")]),
        ('"say \\"yes\\", or no",pos', [('say "yes", or no', "pos")]),
        ('"say \\"yes\\"\nor no",pos', [('say "yes"\nor no', "pos")]),
        ('"never closed,pos\nlast,neg', [('"never closed', "pos"), ("last", "neg")]),
        ('"open,pos\nbetween,neg\nclosed",pos', [('"open', "pos"), ("between", "neg"), ('closed"', "pos")]),
        ('pos at the end,"neg', [("pos at the end", '"neg')]),
    ],
)
def test_quotation_marks_in_every_place_give_the_rows_that_people_see(
    tmp_path: Path, line: str, wanted: list[tuple[str, str]]
) -> None:
    rows, _ = rows_of(tmp_path, f"{HEAD}{line}\nthe end,pos\n")
    assert cells(rows)[8:] == [*wanted, ("the end", "pos")]


def test_a_line_that_is_no_row_is_named_and_the_next_one_is_read(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, f'{HEAD}"one cell alone\nthe end,pos\n')
    assert cells(rows)[8:] == [
        "expected 2 cells as in the header, got 1, perhaps because a quotation mark is not closed",
        ("the end", "pos"),
    ]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_one(tmp_path: Path, ends: str) -> None:
    rows, notes = rows_of(tmp_path, ends.join(("text,label", '"a b",pos', "c,neg")))
    assert (cells(rows), notes) == ([("a b", "pos"), ("c", "neg")], [])


def test_mixed_line_ends_are_ends(tmp_path: Path) -> None:
    assert len(rows_of(tmp_path, "a,b\r\n1,2\n3,4\r5,6")[0]) == 3


def test_lines_that_end_with_a_delimiter_lose_nothing(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, "a,b\n1,2,\n3,4,\n")[0]) == [("1", "2"), ("3", "4")]


def test_rows_with_too_many_or_too_few_cells_are_named(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, "a,b\n1,2,3\n4\n5,6\n")
    assert cells(rows) == [
        "expected 2 cells as in the header, got 3",
        "expected 2 cells as in the header, got 1",
        ("5", "6"),
    ]


def test_a_header_that_comes_again_is_no_row(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, " a ,b\n1,2\na,b \n3,4\n")[0])[1] == "repeats the header"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (" town , price\nBonn,3\n", ("town", "price")),
        ("cafe\u0301,b\n1,2\n", ("café", "b")),
        ("a,,b\n1,2,3\n", ("a", "column_2", "b")),
        ("sep=;\na;b\n1;2\n", ("a", "b")),
        ('"sep=|"\na|b\n1|2\n', ("a", "b")),
        ("# made by hand\n\na,b\n1,2\n", ("a", "b")),
        ("#id,b\n1,2\n", ("#id", "b")),
        ("\n\na,b\n1,2\n", ("a", "b")),
        ("name;price, net, gross\nx;1\ny;2\n", ("name", "price, net, gross")),
        ('"a\nb",c\n1,2\n', ("a\nb", "c")),
        ("a\n1\n", ("a",)),
    ],
)
def test_the_header_is_found_and_cleaned(tmp_path: Path, text: str, columns: tuple[str, ...]) -> None:
    path = tmp_path / "upload.part"
    path.write_text(text, encoding="utf-8")
    table = Table(path, "a.csv", Limits())
    assert table.columns == columns
    assert len(list(table.rows())) in (1, 2)


def test_names_that_are_one_once_they_are_cleaned_are_refused(tmp_path: Path) -> None:
    for text in ("a, a\n1,2\n", "café,cafe\u0301\n1,2\n"):
        with pytest.raises(InvalidInput, match="two columns called"):
            rows_of(tmp_path, text)


def test_a_tsv_with_commas_and_a_csv_with_tabs_are_read(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, "a,b\n1,2\n", "a.tsv")[0]) == [("1", "2")]
    assert cells(rows_of(tmp_path, "a\tb\n1\t2\n", "a.csv")[0]) == [("1", "2")]


def test_a_space_before_a_quotation_mark_is_no_part_of_a_cell(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, '"text", "label"\n"a, b", "pos"\n"c", "neg"\n')[0]) == [
        ("a, b", "pos"),
        ("c", "neg"),
    ]


def test_a_column_of_json_that_comes_too_late_is_named(tmp_path: Path) -> None:
    text = '{"a": 1}\n' * 1024 + '{"a": 1, "b": 2}\n'
    _, (note,) = rows_of(tmp_path, text, "a.jsonl")
    assert note.startswith("column 'b' comes first in row 1025 and was left out")


def test_a_column_that_json_names_twice_costs_that_row_alone(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, '{"a": 1, " a": 2}\n{"a": 1, "a": 2}\n{"a": 3}\n', "a.jsonl")
    assert cells(rows) == ["names a column twice", "names a column twice", (3,)]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    rows, notes = rows_of(tmp_path, b"a,b\n1,\xff\n2,\0\n3,4\n")
    assert cells(rows) == ["is not UTF-8 text", "holds NUL characters, which no text does", ("3", "4")]
    assert notes == ["rows that are not UTF-8 text: 1; save the file as UTF-8"]


def test_lines_that_all_open_a_quotation_take_no_time_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoting, "MOST_WASTED", 10_000)
    with pytest.raises(InvalidInput, match="quotation marks do not come in pairs"):
        rows_of(tmp_path, "a,b\n" + 'x","b\n' * 1000)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), st.sampled_from("ab")),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_what_the_csv_module_writes_comes_back_cell_by_cell(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, how: int
) -> None:
    written = [("text", "label"), *rows]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=how).writerows(written)
    found, _ = rows_of(tmp_path_factory.mktemp("csv"), buffer.getvalue())
    expected = [row for row in rows if row[0].strip() or row[1].strip()]
    if not any("\n" in text or "\r" in text for text, _ in rows):  # a text of many lines may look like rows
        assert [row.cells for row in found] == [{"text": text, "label": label} for text, label in expected]


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(st.lists(st.text('ab",\\ ', min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=15))
def test_every_line_is_a_row_whatever_its_quotation_marks(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    """Nothing is merged where the header has one column of words beside one of few values and no cell has two lines."""
    lines = [f"{text.replace(',', '')},{'pos' if i % 2 else 'neg'}" for i, text in enumerate(texts)]
    rows, _ = rows_of(tmp_path_factory.mktemp("csv"), HEAD + "\n".join(lines) + "\n")
    assert len(rows) == 8 + len(lines)
