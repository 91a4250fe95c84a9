"""The header of a CSV is found below other lines; titles and indexes without a name are recognised."""

from pathlib import Path

import pytest

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.tables.table import Table
from service.errors import InvalidInput
from tests.support.datasets.table_rows import cells, rows_of


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
def test_header_is_found_and_normalised(tmp_path: Path, text: str, columns: tuple[str, ...]) -> None:
    path = tmp_path / "upload.part"
    path.write_text(text, encoding="utf-8")
    table = Table(path, "a.csv", DatasetLimits())
    assert table.columns == columns
    assert len(list(table.rows())) in (1, 2)


def test_column_names_equal_after_normalisation_are_refused(tmp_path: Path) -> None:
    for text in ("a, a\n1,2\n", "café,cafe\u0301\n1,2\n"):
        with pytest.raises(InvalidInput, match="two columns called"):
            rows_of(tmp_path, text)


def test_tsv_with_commas_and_csv_with_tabs_are_read(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, "a,b\n1,2\n", "a.tsv")[0]) == [("1", "2")]
    assert cells(rows_of(tmp_path, "a\tb\n1\t2\n", "a.csv")[0]) == [("1", "2")]


def test_space_before_a_quotation_mark_is_no_part_of_a_cell(tmp_path: Path) -> None:
    assert cells(rows_of(tmp_path, '"text", "label"\n"a, b", "pos"\n"c", "neg"\n')[0]) == [
        ("a, b", "pos"),
        ("c", "neg"),
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('"age","sex"\n' + "".join(f'"{i}",{20 + i},"m"\n' for i in range(1, 9)), "a.csv"),
        ('"age","sex"\n' + "".join(f'"car {i}",{20 + i},"m"\n' for i in range(1, 9)), "a.csv"),
        ("age,sex\n" + "".join(f"{i},{20 + i},m\n" for i in range(1, 9)), "a.csv"),
        ("age\tsex\n" + "".join(f"car {i}\t{20 + i}\tm\n" for i in range(1, 9)), "a.tsv"),
    ],
)
def test_row_names_without_a_header_are_an_unnamed_column(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "upload.part"
    path.write_text(text)
    table = Table(path, name, DatasetLimits())
    assert (table.columns, table.unnamed) == (("column_1", "age", "sex"), ("column_1",))
    assert [row.cells["age"] for row in table.rows()] == [str(20 + i) for i in range(1, 9)]


@pytest.mark.parametrize("line", ["hello {i}, you,pos", "{i}{i},5,pos", "1,{i},pos"])
def test_extra_comma_in_each_row_is_no_row_name(tmp_path: Path, line: str) -> None:
    rows, _ = rows_of(tmp_path, "text,label\n" + "".join(line.format(i=i) + "\n" for i in range(1, 9)))
    assert cells(rows) == ["expected 2 cells as in the header, got 3"] * 8


@pytest.mark.parametrize(
    "above", ["Sales report 2024,,\n", "Sales report 2024,,\n,,\n", "Sales report 2024\n", "Sales report 2024\n\n"]
)
def test_title_above_the_header_is_named(tmp_path: Path, above: str) -> None:
    with pytest.raises(InvalidInput, match=r"first line of 'a\.csv' looks like a title.*'Sales report 2024'; remove"):
        rows_of(tmp_path, above + "age,sex,label\n" + "".join(f"{i},m,no\n" for i in range(20, 40)))


@pytest.mark.parametrize(
    "text", ['text\n"a, b"\n"c, d"\n"e, f"\n', "a,,\n1,2,3\n4,5,6\n", "text,\nsome,pos\nmore,neg\n"]
)
def test_header_with_one_name_is_no_title(tmp_path: Path, text: str) -> None:
    assert all(not row.problem for row in rows_of(tmp_path, text)[0])


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 0.1", "Unnamed: 0.2.1"])
def test_index_written_twice_by_pandas_has_no_name(tmp_path: Path, name: str) -> None:
    for text, file in ((f"{name},x\n0,1\n", "a.csv"), (f'{{"{name}": 0, "x": 1}}\n', "a.jsonl")):
        path = tmp_path / "upload.part"
        path.write_text(text)
        assert Table(path, file, DatasetLimits()).unnamed == (name,)
