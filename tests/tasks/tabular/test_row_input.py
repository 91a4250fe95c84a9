"""A row has the same meaning in any spelling of its cells; a wrong cell is refused by the name of its column."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo.cards.recipes import (
    CategoryColumn,
    NumberColumn,
    RowRecipe,
)
from service.datasets.readers.columns.cells import (
    to_category,
    to_number,
)
from service.errors import InvalidInput
from service.tasks.tabular.row_input import (
    columns_of,
    columns_width,
    encode_row,
    row_arguments,
    row_inputs,
    row_notes,
)
from tests.support.tasks.structured_cards import CATEGORIES_ALONE, FLATS, NUMBERS_ALONE

FLAT = {"area": 90, "rooms": 4, "town": "Köln", "lift": True}


def encoded(**cells: Any) -> tuple[list[float], list[int]]:
    numbers, categories = encode_row(FLATS, cells, "instances[0]")
    assert (numbers.dtype, categories.dtype) == (np.float32, np.int64)
    return numbers.tolist(), categories.tolist()


def refusal(recipe: RowRecipe = FLATS, **cells: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        encode_row(recipe, cells, "instances[3]")
    return refused.value


def test_numbers_are_standardised_and_categories_counted_from_one() -> None:
    assert encoded(**FLAT) == ([1.0, 1.0], [2, 2])


@pytest.mark.parametrize(
    "written",
    [
        {"area": "90", "rooms": " 4.0 ", "town": "Köln", "lift": "true"},
        {"area": 9e1, "rooms": "4e0", "town": " Köln ", "lift": True},
    ],
)
def test_number_may_be_a_text_as_in_a_file(written: dict[str, Any]) -> None:
    assert encoded(**written) == encoded(**FLAT)


def test_order_of_cells_does_not_matter() -> None:
    assert encoded(**dict(reversed(FLAT.items()))) == encoded(**FLAT)


def test_numbers_may_be_categories() -> None:
    recipe = RowRecipe(kind="row", categories=(CategoryColumn(name="code", categories=("3", "3.5", "true")),))
    codes = [encode_row(recipe, {"code": code}, "")[1].tolist() for code in (3, 3.0, "3", 3.5, True, "4")]
    assert codes == [[1], [1], [1], [2], [3], [0]]


@pytest.mark.parametrize("empty", [None, math.nan, "", "  ", "n/a", "NaN", ...])
def test_empty_number_is_filled_in_and_noted(empty: Any) -> None:
    cells = {k: v for k, v in {**FLAT, "area": empty}.items() if v is not ...}
    assert encoded(**cells) == ([-0.25, 1.0], [2, 2])
    assert row_notes(FLATS, cells) == {"empty_columns": "area"}


@pytest.mark.parametrize("empty", [None, math.nan, "", " ", ...])
def test_empty_category_is_unknown_and_noted(empty: Any) -> None:
    cells = {k: v for k, v in {**FLAT, "town": empty}.items() if v is not ...}
    assert encoded(**cells) == ([1.0, 1.0], [0, 2])
    assert row_notes(FLATS, cells) == {"empty_columns": "town"}


def test_unseen_category_is_unknown_and_noted() -> None:
    cells = {**FLAT, "town": "Berlin", "lift": "perhaps"}
    assert encoded(**cells) == ([1.0, 1.0], [0, 0])
    assert row_notes(FLATS, cells) == {"unseen_categories": "town, lift"}


def test_complete_row_has_no_notes() -> None:
    assert row_notes(FLATS, FLAT) == {}


def test_notes_of_a_wide_table_are_bounded() -> None:
    columns = tuple(NumberColumn(name=f"column {i}", mean=0, std=1, fill=0) for i in range(500))
    notes = row_notes(RowRecipe(kind="row", numbers=columns), {"column 7": 1})
    assert len(str(notes["empty_columns"])) == 200


def test_unknown_column_is_refused_with_a_similar_name() -> None:
    wrong = refusal(**FLAT, Aera=3)
    assert wrong.field == "instances[3].row.Aera"
    assert wrong.problem == "the model has no column 'Aera'; did you mean 'area'?"
    assert refusal(price=3).problem == "the model has no column 'price'; it takes 'area', 'rooms', 'town', 'lift'"


def test_long_column_name_is_truncated_in_the_error() -> None:
    assert len(refusal(**{"x" * 100_000: 1}).message) < 400


@pytest.mark.parametrize("cell", ["large", "1_000", "0x10", "1,5", True, "٣"])
def test_text_in_a_number_column_is_refused(cell: Any) -> None:
    wrong = refusal(area=cell)
    assert wrong.field == "instances[3].row.area"
    assert wrong.problem == f"column 'area' takes a number, got {str(cell)!r}"


@pytest.mark.parametrize("cell", [math.inf, -math.inf, "1e999", "-inf", 10**400, 1e300, "-1.8e308"])
def test_number_beyond_the_range_is_empty_as_in_a_dataset(cell: Any) -> None:
    given, without = {"area": cell, "rooms": 3}, {"area": None, "rooms": 3}
    for made, wanted in zip(encode_row(FLATS, given, ""), encode_row(FLATS, without, ""), strict=True):
        assert made.tolist() == wanted.tolist()
    assert "area" in str(row_notes(FLATS, given)["empty_columns"])


def test_number_beyond_float32_is_refused() -> None:
    narrow = RowRecipe(kind="row", numbers=(NumberColumn(name="area", mean=0.0, std=1e-9, fill=0.0),))
    with pytest.raises(InvalidInput, match="beyond what the network's numbers hold"):
        encode_row(narrow, {"area": 1e36}, "instances[3]")


@pytest.mark.parametrize("cells", [{}, {"area": None, "town": ""}, {"area": math.nan}])
def test_row_of_empty_cells_is_refused(cells: dict[str, Any]) -> None:
    wrong = refusal(**cells)
    assert wrong.field == "instances[3].row"
    assert wrong.problem == "every cell is empty; expected 'area', 'rooms', 'town', 'lift'"


def test_table_may_lack_a_kind_of_column() -> None:
    assert [spec.name for spec in row_inputs(NUMBERS_ALONE)] == ["numbers"]
    assert [spec.name for spec in row_inputs(CATEGORIES_ALONE)] == ["categories"]
    assert row_arguments(CATEGORIES_ALONE) == {"numbers": 0, "categories": [4, 3]}
    numbers, categories = encode_row(CATEGORIES_ALONE, {"town": "Ulm"}, "")
    assert (numbers.shape, categories.tolist()) == ((0,), [3, 0])


def test_columns_of_a_head_are_numbers_and_one_hot_categories() -> None:
    assert columns_of(FLATS, FLAT).tolist() == [1, 1, 0, 1, 0, 0, 1]
    assert columns_of(FLATS, {"area": 70}).tolist() == [0, 0, 0, 0, 0, 0, 0]
    assert len(columns_of(FLATS, FLAT)) == columns_width(FLATS) == 7
    assert columns_of(RowRecipe(kind="row"), {}).shape == (0,)


def test_columns_beside_a_photo_may_all_be_empty() -> None:
    assert columns_of(FLATS, {}).tolist() == [-0.25, 0, 0, 0, 0, 0, 0]


def test_column_may_have_any_name() -> None:
    name = "größe in m² 🏠 instances[0].row"
    recipe = RowRecipe(kind="row", numbers=(NumberColumn(name=name, mean=0, std=1, fill=0),))
    assert encode_row(recipe, {name: 2}, "")[0].tolist() == [2.0]


ANY_CELL = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=8))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(["area", "rooms", "town", "lift", "x"]), ANY_CELL))
def test_any_row_is_encoded_or_refused(cells: dict[str, Any]) -> None:
    try:
        numbers, categories = encode_row(FLATS, cells, "")
    except InvalidInput:
        return
    assert np.isfinite(numbers).all()
    assert ((categories >= 0) & (categories <= [3, 2])).all()
    row_notes(FLATS, cells)


@pytest.mark.parametrize("cell", ["Köln", " two  words ", "3", 3.0, 2.5, True, "nan", 1e300])
def test_serving_reads_a_cell_as_the_dataset_did(cell: Any) -> None:
    """A learned category must be found again when the same cell comes in a request."""
    learned = to_category(cell)
    recipe = RowRecipe(kind="row", categories=(CategoryColumn(name="c", categories=(learned or "?",)),))
    numbers = RowRecipe(kind="row", numbers=(NumberColumn(name="n", mean=0, std=1, fill=0),))
    if learned is not None:
        assert encode_row(recipe, {"c": cell}, "")[1].tolist() == [1]
    if to_number(cell) is not None and abs(to_number(cell) or 0) < 1e30:
        assert encode_row(numbers, {"n": cell}, "")[0].tolist() == [to_number(cell)]


@pytest.mark.parametrize("name", [" area", "area\t"])
def test_column_repeated_up_to_spaces_is_refused_by_name(name: str) -> None:
    error = refusal(**{**FLAT, name: 80})
    assert error.field == "instances[3].row.area"
    assert error.problem == f"column 'area' comes twice, as 'area' and as {name!r}"
