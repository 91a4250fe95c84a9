"""Numbers as people write them: each column has one format, or the report says why there is none and what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.datasets.dataset import DatasetInfo, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.columns.number_format import Notation
from service.errors import InvalidInput
from service.tasks.tabular.row_input import encode_row
from service.training.data.columns import row_recipe
from tests.support.datasets.dataset_files import lines, read
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES


def table(cells: list[str], *, other: str = "{}", delimiter: str = ",") -> bytes:
    """A table with a column `x` of these cells, one of plain numbers and one of classes."""
    rows = [
        delimiter.join((f'"{cell}"', other.format(i), "ab"[i % 2])) for i, cell in enumerate(cells * (40 // len(cells)))
    ]
    return "\n".join((delimiter.join(("x", "other", "label")), *rows)).encode()


def numbers_of(examples: Any) -> list[float]:
    return [examples[i].instance.cells["x"] for i in range(len(examples))]


def said(info: DatasetInfo) -> str:
    return "\n".join((*info.report.inferred, *info.report.warnings))


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234.50", "12.25"], [1234.5, 12.25]),
        (["1.234,50", "12,25"], [1234.5, 12.25]),
        (["1 234,50", "12,25"], [1234.5, 12.25]),
        (["1\u00a0234,50", "1\u202f234\u2009567,5"], [1234.5, 1234567.5]),
        (["1'234.50", "1’234.50"], [1234.5, 1234.5]),
        (["12,34,567", "1,23,456"], [1234567, 123456]),
        (["1,234,567", "999"], [1234567, 999]),
        (["0,125", "1,5"], [0.125, 1.5]),
        (["$1,234.50", "$2"], [1234.5, 2]),
        (["3,50 €", "-1.200,00 €"], [3.5, -1200]),
        (["EUR 5.5", "7.25 EUR"], [5.5, 7.25]),
        (["CHF 1'000.-", "CHF 20.50"], [1000, 20.5]),
        (["12.5%", "3 %"], [12.5, 3]),
        (["12.5 kg", "7kg"], [12.5, 7]),
        (["(1,234.5)", "10"], [-1234.5, 10]),
        (["1234.5-", "10"], [-1234.5, 10]),
        (["−3.5", "4"], [-3.5, 4]),
        (["€1.5", "-"], [1.5, None]),
    ],
)
def test_numbers_with_one_possible_format_are_read(tmp_path: Path, cells: list[str], values: list[float]) -> None:
    examples = read(tmp_path, "a.csv", table(cells))
    assert numbers_of(examples)[:2] == values
    assert examples.info.report.skipped_count == 0
    assert "numbers of 'x': " in said(examples.info)


def test_comma_before_three_digits_is_decided_by_other_columns(tmp_path: Path) -> None:
    thousands = read(tmp_path, "a.csv", table(["1,234", "5,678"], other="{}.5"))
    assert numbers_of(thousands)[0] == 1234
    assert "'1,234' is 1234, because other columns write decimals with a point" in said(thousands.info)
    decimals = read(tmp_path, "a.csv", table(["1,234", "5,678"], other='"{},5"'))
    assert numbers_of(decimals)[0] == 1.234
    assert "because other columns write decimals with a comma" in said(decimals.info)


def test_comma_before_three_digits_alone_is_reported_as_a_guess(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.csv", table(["1,234", "5,678"]))
    assert numbers_of(examples)[0] == 1234
    assert "a comma before three digits usually separates thousands" in said(examples.info)
    semicolons = read(tmp_path, "a.csv", table(["1,234", "5,678"], delimiter=";"))
    assert numbers_of(semicolons)[0] == 1.234
    assert "semicolons separate the cells" in said(semicolons.info)


def test_point_before_three_digits_beside_decimal_commas_separates_thousands(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.csv", table(["1.234", "999"], other="{},25", delimiter=";"))
    assert numbers_of(examples)[:2] == [1234, 999]
    assert numbers_of(read(tmp_path, "a.csv", table(["1.234", "999"])))[:2] == [1.234, 999]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (["1,234.5", "1.234,5"], "its numbers are written in several ways, such as '1,234.5' and '1.234,5'"),
        (["5 €", "5 $"], "its numbers have different units, '$', '€'; convert them to one"),
        (["5%", "0.05"], "some of its numbers have % and others do not; write all of them alike"),
    ],
)
def test_numbers_without_a_common_format_are_words_with_advice(tmp_path: Path, cells: list[str], sentence: str) -> None:
    info = read(tmp_path, "a.csv", table(cells)).info
    assert info.inputs[0].kind == "category"
    assert f"column 'x' is used as a category: {sentence}" in said(info)


def test_target_without_a_common_format_is_refused_with_advice(tmp_path: Path) -> None:
    two_ways = "a,target\n" + "".join(f'{i},"{i},234.5"\n{i},"{i}.234,5"\n' for i in range(1, 30))
    strange = "a,target\n" + "".join(f"{i},{i} foo\n" for i in range(30))
    for text, sentence in (
        (two_ways, "'target' holds numbers, but its numbers are written in several ways"),
        (strange, "'target' holds numbers with something beside them, such as '0 foo'; write the numbers alone"),
    ):
        with pytest.raises(InvalidInput, match=sentence) as caught:
            read(tmp_path, "a.csv", text.encode())
        assert caught.value.field == "header.columns.target"


@pytest.mark.parametrize(
    "cells",
    [
        ["A5", "B7"],
        ["(1)", "(2)"],
        ["Q1", "Q2"],
        ["12:30", "13:45"],
        ["01.02.2023", "14.02.2023"],
        ["1.2.3", "1.10.2"],
        ["2024-01-02", "2024-01-03"],
    ],
)
def test_names_with_digits_stay_names(tmp_path: Path, cells: list[str]) -> None:
    info = read(tmp_path, "a.csv", table(cells)).info
    assert (info.inputs[0].kind, info.inputs[0].categories) == ("category", tuple(sorted(cells)))


def test_target_with_currency_signs_is_a_regression(tmp_path: Path) -> None:
    examples = read(tmp_path, "currency.csv", (DATA / "currency.csv").read_bytes())
    assert [examples[i].target for i in range(3)] == [0.0, 3.5, 7.0]
    assert examples.info.labels == ()


def test_table_with_thousands_separators_is_read(tmp_path: Path) -> None:
    examples = read(tmp_path, "thousands.csv", (DATA / "thousands.csv").read_bytes())
    assert [examples[i].instance.cells["a"] for i in range(2)] == [1320.0, 2801.0]  # type: ignore[union-attr]


def test_number_format_is_decided_over_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.datasets.readers.columns.schema.INSPECTED_ROWS", 10)
    cells = ["1,234"] * 38 + ["1,5", "2,75"]
    assert numbers_of(read(tmp_path, "a.csv", table(cells)))[0] == 1.234


def test_served_model_reads_numbers_in_the_format_of_the_training_file(tmp_path: Path) -> None:
    cells = [f"{i}.{i:03},50 €" for i in range(1, 41)]
    examples = read(tmp_path, "a.csv", table(cells, delimiter=";"))
    rows = [examples[i].instance.cells for i in range(len(examples))]  # type: ignore[union-attr]
    recipe = row_recipe(examples.info.inputs, rows)
    want, _ = encode_row(recipe, {"x": 2002.5, "other": 1.0}, "instances[0]")
    for text in ("2.002,50 €", "2002,5", "€ 2.002,50"):
        got, _ = encode_row(recipe, {"x": text, "other": "1"}, "instances[0]")
        assert np.array_equal(got, want)
    with pytest.raises(InvalidInput, match="takes a number"):
        encode_row(recipe, {"x": "2.002,50 $"}, "instances[0]")


def test_series_with_decimal_commas_is_read(tmp_path: Path) -> None:
    text = "date;sold\n" + "".join(f"2024-01-{i + 1:02};{i},5\n" for i in range(30))
    examples = read(tmp_path, "a.csv", text.encode())
    assert examples.info.kind is DatasetKind.SERIES
    assert examples[0].instance.values[:2, 0].tolist() == [0.5, 1.5]  # type: ignore[union-attr]


def test_numbers_as_texts_in_json_lines_use_the_same_format(tmp_path: Path) -> None:
    rows = [{"x": f"${i},000.50", "label": "ab"[i % 2]} for i in range(1, 30)]
    examples = read(tmp_path, "a.jsonl", lines(rows))
    assert examples[0].instance.cells == {"x": 1000.5}  # type: ignore[union-attr]


def test_empty_cells_and_missing_targets_are_counted_by_column(tmp_path: Path) -> None:
    text = "a,b,target\n" + "".join(
        f"{'' if i % 4 == 0 else i},{'-' if i == 1 else i},{'' if i == 2 else i / 7}\n" for i in range(40)
    )
    warnings = read(tmp_path, "a.csv", text.encode(), limits=DatasetLimits(skipped_shown=0)).info.report.warnings
    assert "empty cells in 39 rows: 'a' 10, 'b' 1" in warnings
    assert "the target is missing in 1 row, which was left out" in warnings


def test_notation_reads_its_own_and_plain_numbers() -> None:
    german = Notation(",", ".", "€")
    assert [german.parse(text) for text in ("1.234,5", "1.5", "1e3", "x", "")] == [1234.5, 1.5, 1000.0, None, None]
