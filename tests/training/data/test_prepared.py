"""Examples become rows a few at a time, and what cannot be trained on or measured is said."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from service.datasets.dataset import Example
from service.errors import InvalidInput, ZooError
from service.training.data.prepared import CHUNK, PreparedExamples
from service.training.failures import CannotTrain
from service.training.methods.supervised import SupervisedData, prepare_data
from service.training.protocol import Log, WorkerMessage
from service.training.stop_signal import StopSignal
from service.types import Item, TextInstance


class Counting:
    """A task that knows how many rows it was asked for at once."""

    card = Catalog.from_package().get("all_minilm_l6_v2")
    most = 0

    def preprocess(self, instances: Sequence[Any], paths: Sequence[str]) -> list[Item | ZooError]:
        self.most = max(self.most, len(instances))
        row = Item({"input_ids": np.zeros(9, np.int64)}, length=9)
        return [row if instance.data else InvalidInput("text", "is empty") for instance in instances]


def prepared(texts: Sequence[bytes], task: Counting | None = None) -> PreparedExamples:
    examples: Any = [Example(TextInstance(text), 0, "", str(i), str(i)) for i, text in enumerate(texts)]
    return PreparedExamples(examples, task or Counting(), cache_bytes=0)  # type: ignore[arg-type]


def data(texts: Sequence[bytes], said: list[WorkerMessage]) -> SupervisedData:
    """Four examples: two to train on, one to validate with, one to test with."""
    job: Any = SimpleNamespace(
        splits={"train": (0, 1), "validation": (2,), "test": (3,)},
        targets=lambda indices: np.zeros(len(indices)),
        classifies=True,
    )
    return prepare_data(job, prepared(texts), said.append, StopSignal())


def test_lengths_of_many_examples_do_not_hold_them_all_in_memory() -> None:
    """A hundred thousand recordings would not fit."""
    task = Counting()
    assert prepared([b"x"] * (5 * CHUNK), task).lengths(range(5 * CHUNK)) == [9] * (5 * CHUNK)
    assert task.most <= CHUNK


def test_data_of_which_nothing_can_be_trained_on_are_refused_in_words() -> None:
    with pytest.raises(CannotTrain, match="not one training example"):
        data([b"", b"", b"x", b"x"], [])


def test_a_result_that_is_not_measured_on_test_data_says_so() -> None:
    said: list[WorkerMessage] = []
    assert data([b"x", b"x", b"x", b""], said).splits["test"] == (2,)
    assert any(isinstance(s, Log) and s.level == "warning" and "looks better" in s.text for s in said)
    said.clear()
    assert data([b"x"] * 4, said).splits["test"] == (3,)
    assert not said
