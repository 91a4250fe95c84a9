"""Rows of several heads and of the backbone itself share a batch, and each gets the answer of its own head."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from model_zoo.cards.signature import FEATURES
from service.engine.head_dispatch import features_of, split_outputs
from service.errors import InternalError, ZooError
from service.types import Array, Item, Tensors
from tests.support.registry.fakes import FakeTask, card

SECRET = "CUDA error in /a/path"


class Head:
    """Multiplies the feature by its slope. Keeps the features and items of its last call."""

    def __init__(self, slope: float, name: str = "mood") -> None:
        self.slope = slope
        self.name = name
        self.calls: list[tuple[list[float], list[Item]]] = []

    def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
        self.calls.append((features[:, 0].tolist(), [*items]))
        return {"logits": features * np.float32(self.slope)}


class FailingHead(Head):
    def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
        raise RuntimeError(SECRET)


class LosingHead(Head):
    """Gives one row less than it got in one of its outputs."""

    def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
        return {"logits": features, "scores": features[:-1]}


class DoublingHead(Head):
    """Gives two rows for each that it got."""

    def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
        return {"logits": np.repeat(features, 2, axis=0)}


TASK = FakeTask(card())


def items(*heads: Head | None) -> list[Item]:
    return [Item({"x": np.array([i], np.float32)}, head=head) for i, head in enumerate(heads)]


def network(rows: int) -> dict[str, Array]:
    """Outputs of a network whose features are 1, 2, 3 … and whose own answers are 100, 101, 102 …"""
    column = np.arange(rows, dtype=np.float32)[:, None]
    return {"y": column + np.float32(100), FEATURES: column + np.float32(1)}


def value(row: Tensors | ZooError, name: str = "logits") -> float:
    assert not isinstance(row, ZooError), row
    assert set(row) == {name}, "a caller sees the outputs of its own head only"
    return float(row[name][0])


def reference_of(row: Tensors | ZooError) -> str:
    assert isinstance(row, InternalError), row
    assert SECRET not in row.message
    reference = row.message.rpartition("reference ")[2]
    assert len(reference) == 12
    return reference


# ── each row gets its own answer ──────────────────────────────────────────────────────────────────────────────────


def test_rows_without_heads_get_the_outputs_of_the_network_without_its_features() -> None:
    rows = split_outputs(TASK, network(3), items(None, None, None))
    assert [value(row, "y") for row in rows] == [100, 101, 102]


def test_network_without_features_answers_rows_without_heads() -> None:
    column = np.ones((2, 1, 1), np.float32)
    assert len(split_outputs(TASK, {"y": column}, items(None, None))) == 2, "nothing asks for two axes here"


def test_each_row_gets_the_answer_of_its_own_head_or_of_the_network() -> None:
    ten, twenty = Head(10), Head(20)
    rows = split_outputs(TASK, network(5), items(ten, None, twenty, ten, None))
    assert [value(rows[i]) for i in (0, 2, 3)] == [10, 60, 40]
    assert [value(rows[i], "y") for i in (1, 4)] == [101, 104]


def test_head_runs_once_for_all_its_rows_and_gets_their_items() -> None:
    ten, twenty = Head(10), Head(20)
    given = items(ten, twenty, ten, None)
    split_outputs(TASK, network(4), given)
    assert ten.calls == [([1, 3], [given[0], given[2]])]
    assert twenty.calls == [([2], [given[1]])]


def test_heads_of_equal_names_are_told_apart() -> None:
    """As two versions of one model."""
    old, new = Head(10, "mood"), Head(20, "mood")
    assert [value(row) for row in split_outputs(TASK, network(2), items(new, old))] == [20, 20]


@pytest.mark.parametrize("seed", range(5))
def test_each_row_of_any_mixture_gets_the_answer_of_its_own_head(seed: int) -> None:
    draw = random.Random(seed)
    heads = [None, *(Head(slope) for slope in (10, -20, 30))]
    mixture = [draw.choice(heads) for _ in range(draw.randint(1, 32))]
    rows = split_outputs(TASK, network(len(mixture)), items(*mixture))
    wanted = [100.0 + i if head is None else head.slope * (i + 1) for i, head in enumerate(mixture)]
    got = [value(row, "y" if head is None else "logits") for row, head in zip(rows, mixture, strict=True)]
    assert got == wanted


# ── a head fails ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [FailingHead, LosingHead, DoublingHead])
def test_head_that_raises_or_gives_a_wrong_number_of_rows_fails_its_own_rows_only(kind: type[Head]) -> None:
    broken, ten = kind(0), Head(10)
    rows = split_outputs(TASK, network(5), items(broken, ten, None, broken, ten))
    assert reference_of(rows[0]) == reference_of(rows[3])
    assert [value(rows[1]), value(rows[4]), value(rows[2], "y")] == [20, 50, 102]


def test_cause_is_logged_under_the_reference_that_the_caller_gets() -> None:
    with capture_logs() as logs:
        rows = split_outputs(TASK, network(2), items(FailingHead(0, "ill"), Head(10)))
    (line,) = logs
    assert (line["event"], line["head"], line["reference"]) == ("a head failed", "ill", reference_of(rows[0]))
    assert line["exc_info"]


def test_two_heads_that_fail_have_references_of_their_own() -> None:
    one, two = split_outputs(TASK, network(2), items(FailingHead(0), FailingHead(0)))
    assert reference_of(one) != reference_of(two)


def test_zoo_error_of_a_head_is_an_internal_error_for_its_rows() -> None:
    class Refuses(Head):
        def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
            raise ZooError(SECRET)

    (row,) = split_outputs(TASK, network(1), items(Refuses(0)))
    reference_of(row)


# ── features ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_features_of_a_network_in_half_precision_are_float32() -> None:
    half = {"y": np.zeros((2, 1), np.float16), FEATURES: np.ones((2, 3), np.float16)}
    features = features_of(TASK.card, half, 2)
    assert features.dtype == np.float32
    assert features.shape == (2, 3)


def test_first_output_is_the_features_of_a_network_that_has_no_others() -> None:
    """As of a sentence encoder, whose embedding is its features."""
    outputs = {"y": np.array([[3.0], [4.0]], np.float32)}
    assert features_of(TASK.card, outputs, 2)[:, 0].tolist() == [3, 4]
    assert [value(row) for row in split_outputs(TASK, outputs, items(Head(10), Head(100)))] == [30, 400]


@pytest.mark.parametrize("shape", [(2,), (2, 4, 4), (1, 4), (3, 4), ()])
def test_features_of_a_wrong_shape_fail_the_batch_and_reach_no_head(shape: tuple[int, ...]) -> None:
    head = Head(10)
    outputs = {"y": np.zeros((2, 1), np.float32), FEATURES: np.zeros(shape, np.float32)}
    with pytest.raises(RuntimeError, match=r"^the network's features have shape \(.*\) for 2 items$"):
        split_outputs(TASK, outputs, items(head, None))
    assert head.calls == []


def test_own_outputs_with_a_lost_row_fail_the_batch_rather_than_shift_answers() -> None:
    outputs = network(3) | {"y": np.zeros((2, 1), np.float32)}
    with pytest.raises(RuntimeError, match=r"^output y has 2 rows for 3 items$"):
        split_outputs(TASK, outputs, items(Head(10), None, None))
