"""The recipe of a table's rows comes from the training rows, and rates go by depth."""

import pytest
from torch import nn

from service.datasets.dataset import ColumnInfo, Columns
from service.tasks.tabular.row_input import encode_row
from service.training.data.columns import row_recipe
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters
from service.training.loop.optimizer import parameter_groups, schedule

COLUMNS = (ColumnInfo(name="age", kind="number"), ColumnInfo(name="city", kind="category"))


def test_numbers_are_standardised_and_empty_cells_get_the_median() -> None:
    recipe = row_recipe(COLUMNS, [{"age": 1.0, "city": "b"}, {"age": None, "city": "a"}, {"age": 5.0, "city": "a"}])
    age, city = recipe.numbers[0], recipe.categories[0]
    assert (age.mean, age.std, age.fill) == (3.0, 2.0, 3.0)
    assert city.categories == ("a", "b")
    numbers, categories = encode_row(recipe, {"age": 5.0, "city": "nowhere"}, "")
    assert numbers.tolist() == [1.0]
    assert categories.tolist() == [0], "a city that training never saw"


def test_a_recipe_knows_which_columns_of_its_table_are_no_inputs() -> None:
    roles = Columns(target="rent", split="part", ignored=("id",))
    recipe = row_recipe(COLUMNS, [{"age": 1.0, "city": "b"}], roles)
    assert (recipe.target, recipe.ignored) == ("rent", ("part", "id"))


def test_a_column_that_never_changes_divides_by_one() -> None:
    assert row_recipe(COLUMNS[:1], [{"age": 4.0}] * 3).numbers[0].std == 1.0


def test_a_table_of_the_target_alone_cannot_be_learned_from() -> None:
    with pytest.raises(CannotTrain, match="no column"):
        row_recipe((), [{}])


def test_lower_layers_learn_more_slowly_and_norms_do_not_decay() -> None:
    network = nn.ModuleDict(
        {
            "stem": nn.Linear(2, 2),
            "blocks": nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(2)),
            "head": nn.Linear(2, 2),
        }
    )
    hparams = Hyperparameters(learning_rate=1.0, backbone_rate=0.1, layer_decay=0.5, weight_decay=0.3)
    found = {id(p): (g["peak"], g["weight_decay"]) for g in parameter_groups(network, hparams) for p in g["params"]}
    rates = {name: found[id(parameter)] for name, parameter in network.named_parameters()}
    assert rates["head.weight"] == (1.0, 0.3)
    assert rates["head.bias"] == (1.0, 0.0)
    assert rates["blocks.1.weight"] == (0.1, 0.3)
    assert rates["blocks.0.weight"] == (0.05, 0.3)
    assert rates["stem.weight"] == (0.025, 0.3)


def test_the_rate_rises_and_falls() -> None:
    shares = [schedule(step, 100, 0.1) for step in range(100)]
    assert shares.index(max(shares)) == 10
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[0] < 0.2
    assert shares[-1] < 0.01
