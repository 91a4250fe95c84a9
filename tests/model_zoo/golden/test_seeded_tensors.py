"""Random rows by a seed are the same everywhere, and fit what networks take."""

import numpy as np
import pytest

from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.golden.seeded_tensors import MOST_VALUES, SIZES, seeded_tensors, spread

KINDS = ("BOOL", "UINT8", "UINT16", "INT8", "INT32", "INT64", "FP16", "FP32", "FP64")
SPECS = [TensorSpec(name=kind.lower(), datatype=kind, shape=(-1, 40)) for kind in KINDS]
RECIPE = TensorsRecipe(kind="tensors", positions={"int64": 7})


def test_seed_decides_the_rows() -> None:
    first, again, other = (seeded_tensors(SPECS, RECIPE, seed) for seed in (0, 0, 1))
    for spec in SPECS:
        assert (first[spec.name] == again[spec.name]).all()
        assert (first[spec.name] != other[spec.name]).any()


def test_numbers_are_in_the_range_of_their_kind() -> None:
    row = seeded_tensors(SPECS, RECIPE, 3)
    assert {name: array.dtype.kind for name, array in row.items()}["bool"] == "b"
    assert row["uint8"].max() > 100
    assert 0 <= row["int64"].min() <= row["int64"].max() < 7
    assert row["int32"][0] == 1
    assert {*row["int32"].tolist()} == {0, 1}
    assert all(row[kind].min() >= 0 and row[kind].max() <= 1 for kind in ("fp16", "fp32", "fp64"))


@pytest.mark.parametrize(("most", "expected"), [(1000, SIZES), (40, (32, 40, 40)), (3, (3, 3, 3))])
def test_axis_that_varies_has_sizes_up_to_its_bound(most: int, expected: tuple[int, ...]) -> None:
    specs = [TensorSpec(name="x", datatype="FP32", shape=(-1, 2, -1))]
    recipe = TensorsRecipe(kind="tensors", axes={"x": ("", "steps")}, max_length=most)
    assert tuple(seeded_tensors(specs, recipe, seed)["x"].shape[1] for seed in range(3)) == expected


def test_values_are_spread_over_the_whole_row() -> None:
    assert spread(np.arange(3)).tolist() == [0, 1, 2]
    found = spread(np.arange(1600).reshape(40, 40))
    assert (len(found), found[0], found[-1]) == (MOST_VALUES, 0, 1500)
    assert spread(np.zeros((0, 3))).size == 0
    assert spread(np.float32(4)).tolist() == [4]
