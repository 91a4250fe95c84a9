"""The recipe of a table's rows comes from the training rows."""

import pytest

from service.datasets.dataset import ColumnInfo, Columns
from service.tasks.tabular.row_input import encode_row
from service.training.data.columns import row_recipe
from service.training.failures import CannotTrain

COLUMNS = (ColumnInfo(name="age", kind="number"), ColumnInfo(name="city", kind="category"))


def test_numbers_are_standardised_and_empty_cells_get_the_median() -> None:
    recipe = row_recipe(COLUMNS, [{"age": 1.0, "city": "b"}, {"age": None, "city": "a"}, {"age": 5.0, "city": "a"}])
    age, city = recipe.numbers[0], recipe.categories[0]
    assert (age.mean, age.std, age.fill) == (3.0, 2.0, 3.0)
    assert city.categories == ("a", "b")
    numbers, categories = encode_row(recipe, {"age": 5.0, "city": "nowhere"}, "")
    assert numbers.tolist() == [1.0]
    assert categories.tolist() == [0], "a city that training never saw"


def test_recipe_names_columns_that_are_not_inputs() -> None:
    roles = Columns(target="rent", split="part", ignored=("id",))
    recipe = row_recipe(COLUMNS, [{"age": 1.0, "city": "b"}], roles)
    assert (recipe.target, recipe.ignored) == ("rent", ("part", "id"))


def test_constant_column_has_spread_one() -> None:
    assert row_recipe(COLUMNS[:1], [{"age": 4.0}] * 3).numbers[0].std == 1.0


def test_table_without_input_columns_is_rejected() -> None:
    with pytest.raises(CannotTrain, match="no column"):
        row_recipe((), [{}])
