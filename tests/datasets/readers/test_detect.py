"""Unusual files: they are read if possible, and otherwise the error says what to do."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

from service.datasets.dataset import DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.errors import InvalidInput
from service.types import RowInstance
from tests.support.datasets.dataset_files import (
    lines,
    photos,
    picture,
    read,
    sentences,
    sound,
    zipped,
)


def refusal(tmp_path: Path, file_name: str, data: bytes | str, **how: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, file_name, data if isinstance(data, bytes) else data.encode(), **how)
    return caught.value.message


def parquet(columns: dict[str, Any] | pyarrow.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns), buffer)
    return buffer.getvalue()


def rows(header: str, *cells: Any) -> str:
    """A CSV of 40 rows; each cell depends on the row's number."""
    return f"{header}\n" + "".join(";".join(str(cell(i)) for cell in cells) + "\n" for i in range(40))


LABELS = ["a", "b"] * 20
NUMBERS = [float(i) for i in range(40)]


# ── lists and objects ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("more", [["x", "y"], [0.5] * 20, {"source": "web"}], ids=["tags", "embedding", "object"])
def test_texts_beside_a_column_of_lists_are_texts(tmp_path: Path, more: Any) -> None:
    examples = read(tmp_path, "a.jsonl", lines(sentences(more=more)))
    assert (examples.info.kind, examples.info.report.examples) == (DatasetKind.TEXT, 20)


def test_table_leaves_out_lists_and_objects_with_a_warning(tmp_path: Path) -> None:
    more = {"emb": [[1.0]] * 40, "meta": [{"a": 1}] * 40}
    info = read(tmp_path, "a.parquet", parquet({"x": NUMBERS, "label": LABELS, **more})).info
    assert [column.name for column in info.inputs] == ["x"]
    assert "column 'emb' holds lists or objects and was left out" in info.report.warnings
    assert "column 'meta' holds lists or objects and was left out" in info.report.warnings


def test_table_with_only_objects_beside_the_target_is_refused(tmp_path: Path) -> None:
    pictures = parquet({"image": [{"bytes": b"x", "path": "a"}] * 40, "label": LABELS})
    assert refusal(tmp_path, "a.parquet", pictures) == (
        "data: the table has no column to learn from beside the target;"
        " column 'image' holds lists or objects and was left out"
    )


def test_target_of_objects_is_refused_and_a_series_of_lists_may_be_named(tmp_path: Path) -> None:
    tagged = lines([{"text": f"a text number {i}", "label": {"a": 1}} for i in range(9)])
    assert "class 1 of the target is a list or object" in refusal(tmp_path, "a.jsonl", tagged)
    table = lines([{"size": i, "label": ["a"]} for i in range(9)])
    assert "'label' holds lists or objects" in refusal(tmp_path, "a.jsonl", table, kind=DatasetKind.TABLE)
    series = lines([{"text": "all of it", "sold": NUMBERS}] * 3)
    info = read(tmp_path, "a.jsonl", series, target="sold").info
    assert (info.kind, info.report.examples) == (DatasetKind.SERIES, 3)


# ── tables as other programs write them ───────────────────────────────────────────────────────────────────────────


def test_first_line_of_data_is_warned_of(tmp_path: Path) -> None:
    iris = rows("5.1;3.5;setosa", lambda i: i / 7, lambda i: i, lambda i: "ab"[i % 2])
    assert refusal(tmp_path, "iris.csv", iris).endswith(
        "name one of '5.1', '3.5', 'setosa'; the first line is to name the columns, and this one looks like data"
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"x,y\n" + b"1,2,3\n" * 9, "row 1: expected 2 cells as in the header, got 3"),
        (b"text,label\n" + "schön,a\n".encode("latin-1") * 9, "row 1: is not UTF-8 text; save the file as UTF-8"),
        (
            b'text,label\n"one\n',
            "row 1: expected 2 cells as in the header, got 1, perhaps because a quotation mark is not closed",
        ),
    ],
)
def test_table_without_readable_rows_gives_the_reason_of_the_first(tmp_path: Path, data: bytes, problem: str) -> None:
    assert refusal(tmp_path, "a.csv", data) == f"data: 'a.csv' has no row that can be read; {problem}"


def test_utf16_without_a_mark_is_refused_with_advice(tmp_path: Path) -> None:
    wide = rows("text;label", lambda i: f"text {i}", lambda i: "ab"[i % 2]).encode("utf-16-le")
    assert refusal(tmp_path, "a.csv", wide).endswith("is not UTF-8 text; save the file as UTF-8")


def test_parquet_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([NUMBERS, NUMBERS, LABELS], names=["x", "x", "label"])
    assert "two columns called 'x'" in refusal(tmp_path, "a.parquet", parquet(table))


def test_index_of_a_filtered_frame_is_no_input(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"x": NUMBERS, "label": LABELS})
    buffer = io.BytesIO()
    frame[frame["x"] % 3 > 0].to_parquet(buffer)
    assert "__index_level_0__" in pyarrow.parquet.read_schema(buffer).names
    assert [c.name for c in read(tmp_path, "a.parquet", buffer.getvalue()).info.inputs] == ["x"]


def test_times_with_nanoseconds_are_times(tmp_path: Path) -> None:
    hours = pandas.date_range("2024-01-01 00:00:00.000000001", periods=40, freq="h")
    info = read(tmp_path, "a.parquet", parquet({"time": pyarrow.array(hours), "v": NUMBERS})).info
    assert (info.kind, info.columns.time, info.report.warnings) == (DatasetKind.SERIES, "time", ())


def test_parquet_over_the_decompressed_limit_is_refused(tmp_path: Path) -> None:
    text = pyarrow.array(["so many words " * 1000] * 1000).dictionary_encode()
    data = parquet({"text": text, "label": LABELS * 25})
    assert len(data) < 100_000
    message = refusal(tmp_path, "a.parquet", data, limits=DatasetLimits(dataset_bytes=10 << 20))
    assert message == "data: 'a.parquet' unpacks to more than 10 MiB, which is the limit"


def test_rows_left_out_of_a_series_are_counted_as_rows(tmp_path: Path) -> None:
    values = "date,v\n" + "".join(f"2024-01-{i + 1:02},{'' if i == 4 else i}\n" for i in range(28))
    assert "left out 1 row" in read(tmp_path, "a.csv", values.encode()).info.report.warnings
    words = "text;label\na b c d;x\n" * 5
    assert refusal(tmp_path, "a.csv", words, kind=DatasetKind.SERIES).endswith("no column of numbers to forecast")


# ── names and classes ─────────────────────────────────────────────────────────────────────────────────────────────


def test_class_names_in_any_language_are_accepted(tmp_path: Path) -> None:
    """Names of screenshots have non-breaking spaces; Persian words and emoji have joiners."""
    names = ("می\u200cخواهم", "👩\u200d🚀")
    files = photos(dict.fromkeys(names, 2)) | {f"{names[0]}/Screenshot at 3.45\u202fPM.jpg": picture(99)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.report.class_counts == {names[0]: 3, names[1]: 2}
    table = "".join(f"this is text {i},{names[i % 2]}\n" for i in range(20))
    assert read(tmp_path, "a.csv", f"text,label\n{table}".encode()).info.report.class_counts == dict.fromkeys(names, 10)


def test_classes_that_differ_only_in_case_are_warned_of(tmp_path: Path) -> None:
    table = "".join(f"this is text {i},{('Good', 'good', 'bad')[i % 3]}\n" for i in range(30))
    info = read(tmp_path, "a.csv", f"text,label\n{table}".encode()).info
    assert info.labels == ("Good", "bad", "good")
    assert "classes that differ only in the case of letters: 'Good', 'good'" in info.report.warnings


def test_target_without_repeated_values_is_refused_with_a_hint(tmp_path: Path) -> None:
    table = "".join(f"this is text {i},id-{i}\n" for i in range(30))
    assert refusal(tmp_path, "a.csv", f"text,label\n{table}") == (
        "data: each of the 30 classes, such as 'id-0', has 1 example, and at least 2 are needed;"
        " perhaps something else is the target"
    )


# ── files that are no dataset ────────────────────────────────────────────────────────────────────────────────────


def test_archive_inside_an_archive_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a.zip", zipped({"photos.zip": zipped(photos({"cat": 2}))}))
    assert message.endswith("only another archive, 'photos.zip'; send that one")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("a.xlsx", "save the sheet as CSV"),
        ("a.json", "write one JSON object on each line of a .jsonl"),
        ("a.JPG", "pack a .zip with a folder for each class"),
        ("a.7z", "pack a .zip"),
    ],
)
def test_file_of_another_kind_is_refused_with_the_expected_type(tmp_path: Path, name: str, instead: str) -> None:
    message = refusal(tmp_path, name, b"x")
    assert message.startswith("header.file_name: ")
    assert message.endswith(f"; {instead}")


def test_sounds_in_unsupported_formats_are_skipped_under_any_name(tmp_path: Path) -> None:
    def made(rate: int, form: str) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.zeros(1000), rate, format=form)
        return buffer.getvalue()

    files = {f"{c}/{i}.wav": sound(i + 10 * (c == "b")) for c in "ab" for i in range(2)}
    files |= {"a/x.wav": made(16_000, "AIFF"), "a/y.wav": made(400_000, "WAV")}
    assert [s.reason for s in read(tmp_path, "a.zip", zipped(files)).info.report.skipped] == [
        "is a sound of format AIFF; convert it to WAV, FLAC or OGG",
        "has 400000 samples a second; at most 192000 are taken",
    ]


# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────


def test_hugging_face_datasets_reads_every_stored_kind(tmp_path: Path) -> None:
    odd = [{"_type": i / 7, "dtype": "ab"[i % 2], "label": "xy"[i % 2]} for i in range(20)]
    stored = {
        "image_folder": read(tmp_path, "a.zip", zipped(photos({"cat": 2, "dog": 2}))),
        "text": read(tmp_path, "a.jsonl", lines(sentences())),
        "table": read(tmp_path, "a.jsonl", lines(odd)),
        "series": read(tmp_path, "a.jsonl", lines([{"values": NUMBERS}] * 2)),
        "plain_text": read(tmp_path, "a.txt", b"a line of text\n" * 500),
    }
    folders = sorted(tmp_path.glob("staging-*/dataset/examples"))
    loaded = {name: datasets.load_from_disk(str(folder)) for name, folder in zip(stored, folders, strict=True)}
    assert {name: len(found) for name, found in loaded.items()} == {n: len(found) for n, found in stored.items()}
    assert loaded["image_folder"]["file"][0] == "cat/0.jpg"
    assert loaded["text"]["label"][:2] == ["good", "bad"]
    assert loaded["table"]["row"][1] == {"_type": 1 / 7, "dtype": "b"}
    assert stored["table"][1].instance == RowInstance({"_type": 1 / 7, "dtype": "b"})
    assert loaded["series"]["values"][0] == NUMBERS
    assert (
        datasets.Dataset.from_file(str(folders[2] / "data-00000-of-00001.arrow")).features == loaded["table"].features
    )
