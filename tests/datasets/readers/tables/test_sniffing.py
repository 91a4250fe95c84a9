"""A file with the wrong suffix is refused with its actual type and advice."""

import bz2
import gzip
import io
import lzma
import sqlite3
from pathlib import Path

import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from service.errors import InvalidInput
from tests.support.datasets.dataset_files import picture, read, zipped
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES
CSV = b"text,label\n" + b"".join(f"text number {i},{'ab'[i % 2]}\n".encode() for i in range(20))


def refusal(tmp_path: Path, name: str, data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, name, data)
    return caught.value.message


def arrow(form: str) -> bytes:
    buffer = io.BytesIO()
    table = pyarrow.table({"a": [1]})
    if form == "parquet":
        pyarrow.parquet.write_table(table, buffer)
    else:
        pyarrow.feather.write_feather(table, buffer, version=2)
    return buffer.getvalue()


def database(tmp_path: Path) -> bytes:
    path = tmp_path / "a.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table a (b)")
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.txt"])
def test_workbook_with_another_suffix_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    workbook = (DATA / "excel_named.csv").read_bytes()
    assert refusal(tmp_path, name, workbook) == f"data: {name!r} is an Excel workbook: save it as CSV"
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
    assert refusal(tmp_path, name, old).endswith("is an Excel workbook: save it as CSV")
    ods = zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"})
    assert refusal(tmp_path, name, ods).endswith("is an OpenDocument spreadsheet: save it as CSV")


def test_other_file_types_are_named(tmp_path: Path) -> None:
    sorts = {
        "a zip archive: call it .zip": zipped({"a.csv": CSV}),
        "compressed with gzip: unpack it": gzip.compress(CSV),
        "compressed with bzip2: unpack it": bz2.compress(CSV),
        "compressed with xz: unpack it": lzma.compress(CSV),
        "a Parquet file: call it .parquet": arrow("parquet"),
        "an Arrow file: save it as Parquet or CSV": arrow("feather"),
        "an SQLite database: save its table as CSV": database(tmp_path),
        "a PDF document: save its table as CSV": b"%PDF-1.7\n1 0 obj",
        "a web page (HTML): save it as CSV": b"\n<!DOCTYPE html><table>",
        "an XML file: save it as CSV": b'\xef\xbb\xbf<?xml version="1.0"?><Workbook>',
        "JSON: write one JSON object on each line of a .jsonl": b'[{"a": 1}]',
        "a picture: pack pictures into a .zip with a folder for each class": picture(1),
    }
    for what, data in sorts.items():
        assert refusal(tmp_path, "a.csv", data) == f"data: 'a.csv' is {what}"
    assert refusal(tmp_path, "a.jsonl", b'[{"a": 1}]').endswith("is one JSON array: write one JSON object on each line")


def test_workbook_with_its_own_suffix_is_refused_with_the_same_advice(tmp_path: Path) -> None:
    for name in ("a.xlsx", "a.xls", "a.ods"):
        assert refusal(tmp_path, name, b"x").endswith("; save the sheet as CSV")


@pytest.mark.parametrize("header", ["PAR1,b", "BZh,b", "ORC,b", "#id,b", "<a>,b"])
def test_table_whose_header_resembles_another_type_is_read(tmp_path: Path, header: str) -> None:
    data = f"{header}\n" + "".join(f"{i / 7},{'xy'[i % 2]}\n" for i in range(20))
    assert read(tmp_path, "a.csv", data.encode(), target="b").info.labels == ("x", "y")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    data = CSV.decode().replace("number", "größe").encode(encoding)
    assert read(tmp_path, "a.csv", data).info.report.examples == 20
    sep = f"sep=;\r\n{CSV.decode().replace(',', ';')}".encode(encoding)
    assert read(tmp_path, "a.csv", sep).info.report.examples == 20


def test_separator_line_of_excel_is_read(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", (DATA / "sep_line.csv").read_bytes()).info
    assert (info.report.class_counts, info.columns.text) == ({"neg": 20, "pos": 20}, "text")


def test_rows_in_another_encoding_are_named_with_advice(tmp_path: Path) -> None:
    data = CSV + "schön,a\n".encode("cp1252")
    report = read(tmp_path, "a.csv", data).info.report
    assert [(s.row, s.reason) for s in report.skipped] == [(21, "is not UTF-8 text")]
    assert "rows that are not UTF-8 text: 1; save the file as UTF-8" in report.warnings


def test_table_of_one_column_has_nothing_to_learn_from(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a.csv", b"text\n" + b"".join(b"a text number %d\n" % i for i in range(20)))
    assert message == (
        "header.columns.target: the table has only one column, 'text'; there is no column left to be learned; perhaps the cells"
        " are separated by something else than , ; | or tab"
    )
