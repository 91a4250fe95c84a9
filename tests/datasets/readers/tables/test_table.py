"""Texts, tables and series: columns are found or asked for, and unusable rows are named one by one."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from service.datasets.dataset import DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.errors import InvalidInput
from service.types import RowInstance
from tests.support.datasets.dataset_files import (
    lines,
    read,
    sentences,
    zipped,
)


def refusal(tmp_path: Path, file_name: str, data: bytes | str, **how: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, file_name, data if isinstance(data, bytes) else data.encode(), **how)
    assert str(tmp_path) not in caught.value.message
    return caught.value


def parquet(frame: pandas.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

FRAME = pandas.DataFrame(sentences())
FORMS = {
    "a.csv": FRAME.to_csv(index=False).encode(),
    "with_index.csv": FRAME.to_csv().encode(),
    "excel.csv": b"\xef\xbb\xbf" + FRAME.to_csv(index=False, sep=";", lineterminator="\r\n").encode(),
    "wide.csv": FRAME.to_csv(index=False).encode("utf-16"),
    "a.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "a.jsonl": lines(sentences()),
    "a.parquet": parquet(FRAME),
    "a.zip": zipped({"data/a.csv": FRAME.to_csv(index=False)}),
}


def test_unusable_rows_are_named(tmp_path: Path) -> None:
    good = "".join(f"text {i} of many,{'ab'[i % 2]}\n" for i in range(6))
    data = (
        b"text,label\n" + good.encode() + b"too,many,cells\nno label,\n,a\nsch\xf6n,a\nnan label,NaN\n" + good.encode()
    )
    report = read(tmp_path, "my.csv", data).info.report
    assert [(s.file, s.row, s.reason) for s in report.skipped] == [
        ("my.csv", 7, "expected 2 cells as in the header, got 3"),
        ("my.csv", 8, "the target is empty"),
        ("my.csv", 9, "the text is empty"),
        ("my.csv", 10, "is not UTF-8 text"),
        ("my.csv", 11, "the target is NaN"),
    ]
    assert report.examples == 12
    assert report.duplicates == 6


def test_bad_json_lines_are_named(tmp_path: Path) -> None:
    bad = b'{"text": \n[1]\n{"text": {"a": 1}, "label": "a"}\n"x"\n{"text": 5, "label": "a"}\n' + b"[" * 100_000 + b"\n"
    report = read(tmp_path, "a.jsonl", lines(sentences()) + bad).info.report
    assert [(s.row, s.reason) for s in report.skipped] == [
        (21, "is not JSON"),
        (22, "expected a JSON object"),
        (23, "the text is a list or object"),
        (24, "expected a JSON object"),
        (25, "5 is no text"),
        (26, "is not JSON"),
    ]


def test_missing_label_column_is_named_with_the_existing_ones(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.jsonl", lines(sentences()), target="Labels")
    assert error.field == "header.columns.target"
    assert error.problem == "there is no column 'Labels'; did you mean 'label'? The columns are 'text', 'label'"
    assert refusal(tmp_path, "a.jsonl", lines(sentences()), text="txt").field == "header.columns.text"
    assert refusal(tmp_path, "a.jsonl", lines(sentences()), ignored=("x",)).field == "header.columns.ignored"
    assert (
        refusal(tmp_path, "a.jsonl", lines(sentences()), text="label", target="label").field == "header.columns.target"
    )


@pytest.mark.parametrize(
    ("file_name", "data"),
    [
        ("a.csv", b""),
        ("a.csv", b"text,label\n"),
        ("a.csv", b"text,text\na,b\n"),
        ("a.csv", b'text,label\n"' + b"x" * (2 << 20)),
        ("a.csv", b"\xff\xfe\xff"),
        ("a.jsonl", b""),
        ("a.jsonl", b"\x00\x01"),
        ("a.parquet", b"PAR1 but not really PAR1"),
        ("a.parquet", FORMS["a.parquet"][:-40]),
        ("a.txt", b"too short"),
        ("a.txt", b"\xff" * 5000),
    ],
)
def test_files_without_usable_content_are_refused(tmp_path: Path, file_name: str, data: bytes) -> None:
    refusal(tmp_path, file_name, data)


def test_splits_are_taken_from_their_column(tmp_path: Path) -> None:
    rows = sentences(12)
    for i, row in enumerate(rows):
        row["split"] = ("train", "train", "train", "train", "dev", "test")[i // 2]
    rows.append({"text": "a text of no split", "label": "good", "split": "tset"})
    examples = read(tmp_path, "a.jsonl", lines(rows), split="split")
    assert examples.info.report.split_counts == {"test": 2, "train": 8, "validation": 2}
    assert examples.info.report.skipped[0].reason == "the split is 'tset'; expected train, validation or test"
    only_test = [{**row, "split": "test"} for row in sentences(6)]
    assert refusal(tmp_path, "a.jsonl", lines(only_test)).field == "header.columns.split"


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────


def cars(count: int = 40, **more: list[Any]) -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    columns = {
        "km": rng.integers(0, 200_000, count),
        "fuel": ["gas", "diesel", "electric", ""] * (count // 4),
        "new": [True, False] * (count // 2),
        "price": rng.normal(20_000, 5_000, count).round(2),
    }
    return pandas.DataFrame(columns | more)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_numbers_and_categories_are_distinguished(tmp_path: Path, form: str) -> None:
    frame = cars()
    data = {
        "csv": frame.to_csv(index=False).encode(),
        "jsonl": frame.to_json(orient="records", lines=True).encode(),
        "parquet": parquet(frame),
    }[form]
    examples = read(tmp_path, f"a.{form}", data, target="price")
    assert examples.info.kind is DatasetKind.TABLE
    assert [(c.name, c.kind, c.categories) for c in examples.info.inputs] == [
        ("km", "number", ()),
        ("fuel", "category", ("diesel", "electric", "gas")),
        ("new", "category", ("false", "true")),
    ]
    assert examples[3].target == frame["price"][3]
    cells = examples[3].instance
    assert isinstance(cells, RowInstance)
    assert (cells.cells["km"], cells.cells["fuel"]) == (float(frame["km"][3]), None), "an empty cell is None"


def test_useless_columns_are_left_out_with_a_warning(tmp_path: Path) -> None:
    more = {"serial": [f"id-{i:05}" for i in range(80)], "nothing": [""] * 80}
    info = read(tmp_path, "a.csv", cars(80, **more).to_csv(index=False).encode(), target="price", ignored=("new",)).info
    assert [c.name for c in info.inputs] == ["km", "fuel"]
    assert "column 'serial' is different in nearly every row and was left out" in info.report.warnings
    assert "column 'nothing' is empty and was left out" in info.report.warnings


def test_nan_target_is_skipped_and_all_nan_is_refused(tmp_path: Path) -> None:
    frame = cars()
    frame["price"] = frame["price"].astype(object)
    frame.loc[[1, 5], "price"] = ["NaN", "inf"]
    report = read(tmp_path, "a.csv", frame.to_csv(index=False).encode(), target="price").info.report
    assert [(s.row, s.reason) for s in report.skipped] == [(2, "the target is NaN"), (6, "the target is infinite")]
    frame["price"] = math.nan
    for form, data in {"csv": frame.to_csv(index=False, na_rep="NaN").encode(), "parquet": parquet(frame)}.items():
        error = refusal(tmp_path, f"a.{form}", data, target="price")
        assert (error.field, error.problem) == ("header.columns.target", "'price' is empty in every row")


def test_constant_target_is_refused(tmp_path: Path) -> None:
    numbers = cars(40, price=[0.5] * 40).to_csv(index=False)
    assert "0.5 in every row" in refusal(tmp_path, "a.csv", numbers, target="price").message
    classes = cars(40, price=[1] * 40).to_csv(index=False)
    assert "only one class, '1'" in refusal(tmp_path, "a.csv", classes, target="price").message


def test_unnamed_target_is_asked_for(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.csv", cars().to_csv(index=False))
    assert error.field == "header.columns.target"
    assert error.problem.endswith("name one of 'km', 'fuel', 'new', 'price'")


def test_few_different_whole_numbers_are_classes_in_order(tmp_path: Path) -> None:
    data = cars(40, price=[f"{i % 11}.0" for i in range(33)] + [f"{i}" for i in range(7)]).to_csv(index=False)
    info = read(tmp_path, "a.csv", data.encode(), target="price").info
    assert info.labels == tuple(str(i) for i in range(11))


def test_whole_numbers_that_hardly_repeat_are_numbers(tmp_path: Path) -> None:
    data = cars(20, price=[20_000 - 13 * i for i in range(20)]).to_csv(index=False)
    assert read(tmp_path, "a.csv", data.encode(), target="price").info.labels == ()


def test_cell_of_another_kind_is_named(tmp_path: Path) -> None:
    frame = cars()
    frame["km"] = frame["km"].astype(object)
    frame.loc[2, "km"] = "far"
    (skipped,) = read(tmp_path, "a.csv", frame.to_csv(index=False).encode(), target="price").info.report.skipped
    assert (skipped.row, skipped.reason) == (3, "column 'km' holds 'far' where the others are numbers")


def test_table_limits_are_enforced(tmp_path: Path) -> None:
    data = cars().to_csv(index=False)
    assert (
        "more than 20 rows" in refusal(tmp_path, "a.csv", data, target="price", limits=DatasetLimits(rows=20)).message
    )
    assert "limit is 3" in refusal(tmp_path, "a.csv", data, target="price", limits=DatasetLimits(columns=3)).message


def test_kind_that_the_file_cannot_have_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a.txt", b"x" * 2000, kind=DatasetKind.TABLE).field == "header.kind"
    assert refusal(tmp_path, "a.csv", b"a,b\n", kind=DatasetKind.IMAGE_FOLDER).field == "header.kind"
    assert refusal(tmp_path, "a.csv", b"a,b\n", kind=DatasetKind.PLAIN_TEXT).field == "header.kind"
    assert refusal(tmp_path, "a.csv", b"image,b\n", image="image").field == "header.columns.image"


def test_hugging_face_datasets_reads_a_stored_table(tmp_path: Path) -> None:
    import datasets

    read(tmp_path, "a.jsonl", lines(sentences()))
    (folder,) = tmp_path.glob("staging-*/dataset/examples")
    loaded = datasets.load_from_disk(str(folder))
    assert loaded["text"][:2] == [row["text"] for row in sentences(2)]
    assert loaded["label"][:2] == ["good", "bad"]
