"""Rows of CSV and TSV are never merged silently: each line that can be separated is a row, the others are named."""

import csv
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.readers.tables import quote_repair
from service.errors import InvalidInput
from tests.support.datasets.table_rows import (
    HEAD,
    as_csv,
    cells,
    rows_of,
)
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES


def test_text_beginning_with_a_quotation_mark_does_not_swallow_rows(tmp_path: Path) -> None:
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
def test_quotation_marks_anywhere_give_the_rows_that_people_see(
    tmp_path: Path, line: str, wanted: list[tuple[str, str]]
) -> None:
    rows, _ = rows_of(tmp_path, f"{HEAD}{line}\nthe end,pos\n")
    assert cells(rows)[8:] == [*wanted, ("the end", "pos")]


def test_malformed_line_is_named_and_the_next_one_is_read(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, f'{HEAD}"one cell alone\nthe end,pos\n')
    assert cells(rows)[8:] == [
        "expected 2 cells as in the header, got 1, perhaps because a quotation mark is not closed",
        ("the end", "pos"),
    ]


def test_lines_that_all_open_a_quotation_take_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quote_repair, "MAX_REREAD_CHARACTERS", 10_000)
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
def test_output_of_the_csv_module_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, how: Literal[0, 1, 2]
) -> None:
    written = [("text", "label"), *rows]
    found, _ = rows_of(tmp_path_factory.mktemp("csv"), as_csv(written, delimiter, how))
    expected = [row for row in rows if row[0].strip() or row[1].strip()]
    assert [row.cells for row in found] == [{"text": text, "label": label} for text, label in expected]


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(["Q,yes", "no", "a,no", '"', '""', ",", "\n", "\n", "x\\", ";b\tno|yes"]), max_size=6
            ).map("".join),
            st.sampled_from(["yes", "no"]),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_cells_with_row_like_lines_are_kept_if_the_writer_quotes(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]], delimiter: str, how: Literal[0, 1, 2]
) -> None:
    table = [*rows, (f"first{delimiter} second", "yes", 1)]
    found, notes = rows_of(tmp_path_factory.mktemp("csv"), as_csv([("text", "label", "stars"), *table], delimiter, how))
    assert [tuple(row.cells.values()) for row in found] == [(text, label, str(stars)) for text, label, stars in table]
    assert notes == []


SURVEY = "Q1{d}yes\nQ2{d}no\nI agree {i}"


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("how", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("label_first", [False, True])
@pytest.mark.parametrize("plain", [0, 40])
@pytest.mark.parametrize("numbers", [False, True])
def test_answers_inside_of_a_quoted_cell_are_no_rows(
    tmp_path: Path, delimiter: str, how: Literal[0, 1, 2], label_first: bool, plain: int, numbers: bool
) -> None:
    survey = SURVEY.replace("yes", "5").replace("no", "4") if numbers else SURVEY
    texts = [survey.format(d=delimiter, i=i) for i in range(10)] + [f"text number {i} is ok" for i in range(plain)]
    table: list[tuple[object, ...]] = [
        (text, i % 5 + 1 if numbers else ("no", "yes")[i % 2]) for i, text in enumerate(texts)
    ]
    if label_first:
        table = [row[::-1] for row in table]
    rows, notes = rows_of(tmp_path, as_csv([("a", "b"), *table], delimiter, how))
    assert ([tuple(row.cells.values()) for row in rows], notes) == ([tuple(map(str, row)) for row in table], [])


def test_single_cell_with_row_like_lines_is_kept_if_another_line_shows_quoting(tmp_path: Path) -> None:
    for proof in ('"one, two",pos', '"a ""word""",neg', '"prose\nof two lines",pos'):
        rows, notes = rows_of(tmp_path, f'{HEAD}"open,pos\nbetween,neg\nclosed",pos\n{proof}\n')
        assert (len(rows), rows[8].cells["text"], notes) == (10, "open,pos\nbetween,neg\nclosed", [])


def test_marks_of_direct_speech_are_text_if_the_writer_does_not_quote(tmp_path: Path) -> None:
    speech: list[str] = []
    for i in range(10):
        speech += [
            f'"I am tired {i}.\tneg',
            f'Let us rest for {i} days."\tpos',
            f'She said "no" to {i}.\tneg',
            f"They are {i}.\tpos",
        ]
    rows, notes = rows_of(tmp_path, "text\tlabel\n" + "\n".join(speech) + "\n", "speech.tsv")
    assert [f"{row.cells['text']}\t{row.cells['label']}" for row in rows] == speech
    assert len(notes) == 1


def test_marks_escaped_by_backslashes_are_read_anywhere(tmp_path: Path) -> None:
    lines = [rf'"5\", {i}\" pipes in C:\new",yes' for i in range(10)] + [
        rf'"ends {i} \"quoted\"",no' for i in range(40)
    ]
    rows, notes = rows_of(tmp_path, "text,label\n" + "\n".join(lines) + "\n")
    wanted = [(f'5", {i}" pipes in C:\\new', "yes") for i in range(10)] + [
        (f'ends {i} "quoted"', "no") for i in range(40)
    ]
    assert (cells(rows), notes) == (wanted, [])


def test_mark_escaped_by_a_backslash_late_in_the_file_is_read(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, "text,label\n" + '"a, b",yes\n' * 3000 + '"5\\", 3\\" pipes",no\nlast,no\n')
    assert cells(rows)[3000:] == [('5", 3" pipes', "no"), ("last", "no")]


def test_cell_ending_with_a_backslash_is_no_escape(tmp_path: Path) -> None:
    table = [(f"C:\\data, {i}\\", "yes") for i in range(5)]
    assert cells(rows_of(tmp_path, as_csv([("text", "label"), *table]))[0]) == table


def test_blanks_between_a_closing_mark_and_a_delimiter_are_accepted(tmp_path: Path) -> None:
    rows, notes = rows_of(tmp_path, "text , label\n" + "".join(f'"a, b {i}" , no\n' for i in range(10)))
    assert (cells(rows), notes) == ([(f"a, b {i}", " no") for i in range(10)], [])
    rows, notes = rows_of(tmp_path, "text,label\n" + "".join(f'"a, b {i}","no" \n' for i in range(10)))
    assert (cells(rows), notes) == ([(f"a, b {i}", "no") for i in range(10)], [])


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(st.lists(st.text('ab",\\ ', min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=15))
def test_every_line_is_a_row_whatever_its_quotation_marks(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    """Nothing is merged where the header has one column of words beside one of few values and no cell has two lines."""
    lines = [f"{text.replace(',', '')},{'pos' if i % 2 else 'neg'}" for i, text in enumerate(texts)]
    rows, _ = rows_of(tmp_path_factory.mktemp("csv"), HEAD + "\n".join(lines) + "\n")
    assert len(rows) == 8 + len(lines)
