"""Models of tensors only: rows are checked by the axes of the file, and answered with the network's outputs."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.cards.recipes import ImageRecipe, TensorsRecipe
from model_zoo.golden.golden_case import GoldenInput, OutputValues, TensorsExpectation
from service.errors import InvalidInput
from service.tasks.tensors import TensorsTask
from service.types import Item, Options, OutputTensors, TensorInstance, TextInstance
from tests.support.references.onnx_cards import tensors_card

RECIPE = TensorsRecipe(
    kind="tensors", axes={"ids": ("steps",), "mask": ("steps",)}, max_length=5, positions={"ids": 10}
)
INPUTS = (("ids", "INT64", (-1, -1)), ("mask", "INT64", (-1, -1)), ("level", "FP32", (-1, 2)))


@pytest.fixture
def task() -> TensorsTask:
    return TensorsTask(tensors_card(INPUTS, RECIPE))


def row(ids: list[int], mask: list[int] | None = None) -> TensorInstance:
    tensors = {"ids": np.array(ids, np.int64), "mask": np.array(mask or [1] * len(ids), np.int64)}
    return TensorInstance({**tensors, "level": np.zeros(2, np.float32)})


def test_row_has_the_length_of_its_longest_axis(task: TensorsTask) -> None:
    assert task.row(row([1, 2, 3]), "instances[0]").length == 3


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (row([1] * 6), "instances[0].ids", "expected 1 to 5 along the axis 'steps', got 6"),
        (row([1, 2], [1]), "instances[0].mask", "expected 2 along the axis 'steps' as ids has, got 1"),
        (row([1, 10]), "instances[0].ids", "expected numbers below 10, got 10"),
        (row([-11, 1]), "instances[0].ids", "expected numbers below 10, got -11"),
        (row([]), "instances[0].ids", "expected 1 to 5 along the axis 'steps', got 0"),
    ],
)
def test_row_that_the_network_cannot_take_is_refused(
    task: TensorsTask, given: TensorInstance, field: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        task.row(given, "instances[0]")
    assert (refused.value.field, words in str(refused.value)) == (field, True)


def test_positions_may_count_from_the_end(task: TensorsTask) -> None:
    assert task.row(row([-10, 9]), "instances[0]").length == 2


def test_rows_of_different_length_are_padded_under_the_mask() -> None:
    masked = TensorsTask(tensors_card(INPUTS, RECIPE.model_copy(update={"mask": "mask", "cut": ("tokens",)})))
    items = [masked.row(row([1, 2, 3]), "a"), masked.row(row([4]), "b")]
    batch, padded = masked.collate(items)
    assert (batch["ids"].tolist(), batch["mask"].tolist()) == ([[1, 2, 3], [4, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    assert batch["level"].shape == (2, 2)
    assert padded == pytest.approx(2 / 6)
    rows = masked.split({"tokens": np.arange(6).reshape(2, 3), "best": np.arange(2)}, items)
    assert [one["tokens"].tolist() for one in rows] == [[0, 1, 2], [3]]
    for mask in ([0, 0], [1, 2]):
        with pytest.raises(InvalidInput, match="at least one 1"):
            masked.row(row([1, 2], mask), "a")


def test_raw_instance_fails_alone(task: TensorsTask) -> None:
    good, bad = task.preprocess([row([1]), TextInstance(b"hello")], ["instances[0]", "instances[1]"])
    assert isinstance(good, Item)
    assert isinstance(bad, InvalidInput)
    assert "expected tensors for model 'tiny', got text" in str(bad)


def test_output_of_any_name_is_split_into_rows(task: TensorsTask) -> None:
    items = [task.row(row([1]), "a"), task.row(row([2]), "b")]
    rows = task.split({"features": np.arange(4).reshape(2, 2), "best": np.arange(2)}, items)
    assert [{name: array.tolist() for name, array in one.items()} for one in rows] == [
        {"features": [0, 1], "best": 0},
        {"features": [2, 3], "best": 1},
    ]
    with pytest.raises(RuntimeError, match="output best"):
        task.split({"best": np.arange(3)}, items)


def test_seeded_rows_are_rows_that_the_task_takes(task: TensorsTask) -> None:
    for seed in range(4):
        instance = task.golden_instance(GoldenInput(seed=seed))
        assert isinstance(instance, TensorInstance)
        assert task.row(instance, "golden").length == 5
    assert task.warmup_item().length == 5


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ({"y": np.array([1.0, 2.0])}, None),
        ({"y": np.array([1.0, 2.2])}, "the output 'y' is off by 0.2, allowed is 0.1"),
        ({"y": np.array([1.0, np.nan])}, "the output 'y' is off by nan"),
        ({"y": np.array([1.0])}, "the output 'y' has the shape [1]; expected [2]"),
        ({}, "the output 'y' is missing"),
    ],
)
def test_golden_problem_names_the_output(
    task: TensorsTask, outputs: dict[str, np.ndarray], problem: str | None
) -> None:
    expect = TensorsExpectation(outputs={"y": OutputValues(shape=(2,), values=(1.0, 2.0), tolerance=0.1)})
    found = task.golden_problem(expect, OutputTensors(outputs), {})
    assert (found is None) if problem is None else (found or "").startswith(problem)


def test_answer_is_the_outputs(task: TensorsTask) -> None:
    y = np.zeros(2)
    answer = task.postprocess({"y": y}, task.warmup_item(), Options())
    assert isinstance(answer, OutputTensors)
    assert answer.tensors["y"] is y


def test_card_with_another_recipe_is_no_card_of_tensors() -> None:
    recipe = ImageRecipe(
        kind="image", size=(8, 8), resize_shorter=8, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    card = tensors_card(INPUTS, RECIPE).model_copy(update={"recipe": recipe})
    with pytest.raises(TypeError):
        TensorsTask(card)
