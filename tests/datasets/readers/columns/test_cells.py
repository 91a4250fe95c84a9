"""Classes, categories and columns keep the names that people gave them; numbers of any length stay different."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from service.datasets.dataset import DatasetKind
from service.tasks.tabular.row_input import category_cell, encode_row
from service.training.data.columns import row_recipe
from tests.support.datasets.dataset_files import (
    lines,
    photos,
    read,
    zipped,
)
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES
IDS = [2**60 + 1, 2**60 + 2]


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def labelled(labels: list[str]) -> bytes:
    return ("a,label\n" + "".join(f"{i / 7},{labels[i % len(labels)]}\n" for i in range(10 * len(labels)))).encode()


# ── classes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_classes_that_look_like_numbers_keep_their_spelling(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", (DATA / "sci_labels.csv").read_bytes()).info.labels == ("1E2", "2E10", "3D4")


@pytest.mark.parametrize(
    "labels",
    [
        ["1E2", "2E10"],
        ["+1", "-1"],
        ["+1", "1"],
        ["007", "7"],
        ["1.50", "2.0"],
        ["1.0", "1.1", "1.10"],
        ["0x10", "1_000"],
        ["NA", "None"],
        ["-", "+"],
        ["１", "1"],
    ],
)
def test_class_keeps_its_spelling(tmp_path: Path, labels: list[str]) -> None:
    info = read(tmp_path, "a.csv", labelled(labels), task="tabular-classification").info
    assert sorted(info.labels) == sorted(labels)
    folders = photos(dict.fromkeys(labels, 2))
    assert sorted(read(tmp_path, "a.zip", zipped(folders)).info.labels) == sorted(labels)


def test_folders_named_like_missing_or_truth_values_keep_their_names(tmp_path: Path) -> None:
    names = ("nan", "True", "1.0")
    texts = {f"{name}/{i}.txt": f"text {name} {i}" for name in names for i in range(2)}
    assert sorted(read(tmp_path, "a.zip", zipped(texts)).info.labels) == sorted(names)


def test_whole_numbers_with_and_without_decimals_are_one_class_and_reported(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", labelled(["1", "1.0", "0.0", "0"])).info
    assert info.labels == ("0", "1")
    assert any(
        line.startswith("classes: called by whole numbers, without .0, because") for line in info.report.inferred
    )


def test_classes_of_one_number_with_two_spellings_are_warned_of(tmp_path: Path) -> None:
    warnings = read(tmp_path, "a.csv", labelled(["007", "7", "8"])).info.report.warnings
    assert "classes that are the same number, written differently: '007', '7'" in warnings


# ── composed and decomposed ───────────────────────────────────────────────────────────────────────────────────────


def test_composed_and_decomposed_letters_are_one_class(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", (DATA / "nfc_nfd.csv").read_bytes()).info.labels == ("café", "neg")
    files = photos({"café": 2, "neg": 2}) | {"cafe\u0301/x.jpg": next(iter(photos({"x": 1}).values()))}
    assert "café" in read(tmp_path, "a.zip", zipped(files)).info.labels


def test_column_is_found_in_any_unicode_composition(tmp_path: Path) -> None:
    text = "größe,ziel\n" + "".join(f"{i},{i / 3}\n" for i in range(20))
    for name in ("gro\u0308ße", " größe "):
        info = read(tmp_path, "a.csv", text.replace("größe", name).encode(), target="ziel ").info
        assert [column.name for column in info.inputs] == ["größe"]
    assert read(tmp_path, "a.csv", text.encode(), target="gro\u0308ße").info.columns.target == "größe"


def test_served_model_finds_columns_and_categories_in_any_unicode_composition(tmp_path: Path) -> None:
    text = "stadt ort,label\n" + "".join(f"{('Köln', 'Bonn')[i % 2]},{'ab'[i % 2]}\n" for i in range(20))
    examples = read(tmp_path, "a.csv", text.encode())
    rows = [examples[i].instance.cells for i in range(20)]  # type: ignore[union-attr]
    recipe = row_recipe(examples.info.inputs, rows)
    _, positions = encode_row(recipe, {" stadt ort": "Ko\u0308ln"}, "instances[0]")
    assert positions.tolist() == [2]


# ── whole numbers beyond doubles ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "decimal"])
def test_ids_beyond_doubles_are_different_classes(tmp_path: Path, form: str) -> None:
    labels = [IDS[i % 2] for i in range(20)]
    xs = [i / 7 for i in range(20)]
    data = {
        "csv": ("x,label\n" + "".join(f"{x},{label}\n" for x, label in zip(xs, labels, strict=True))).encode(),
        "jsonl": lines([{"x": x, "label": label} for x, label in zip(xs, labels, strict=True)]),
        "parquet": parquet(x=xs, label=labels),
        "decimal": parquet(x=xs, label=[Decimal(label) for label in labels]),
    }[form]
    name = "a.parquet" if form == "decimal" else f"a.{form}"
    assert read(tmp_path, name, data).info.labels == tuple(map(str, IDS))


def test_ids_beyond_doubles_are_different_categories(tmp_path: Path) -> None:
    shops: list[int | str] = [IDS[i % 2] for i in range(20)]
    shops[0] = "none of them"  # makes the other cells names, too
    shops[2:6] = ["x", "y"] * 2
    rows = [{"shop": shop, "label": "ab"[i % 2]} for i, shop in enumerate(shops)]
    (column,) = read(tmp_path, "a.jsonl", lines(rows)).info.inputs
    assert set(map(str, IDS)) < set(column.categories)
    assert category_cell(IDS[0]) == str(IDS[0]) != category_cell(IDS[1])


def test_ids_beyond_doubles_distinguish_series(tmp_path: Path) -> None:
    data = (DATA / "series64.parquet").read_bytes()
    examples = read(tmp_path, "a.parquet", data, DatasetKind.SERIES, series="store", target="sold")
    assert len(examples) == 2
    assert len(examples[0].instance.values) == 30  # type: ignore[union-attr]


def test_decimals_are_named_by_their_value(tmp_path: Path) -> None:
    labels = [Decimal("1.50"), Decimal("2.00"), Decimal("0.1000000000000000055")]
    data = parquet(x=[i / 7 for i in range(30)], label=pyarrow.array(labels * 10, pyarrow.decimal128(38, 19)))
    info = read(tmp_path, "a.parquet", data, task="tabular-classification").info
    assert info.labels == ("0.1000000000000000055", "1.5", "2")
