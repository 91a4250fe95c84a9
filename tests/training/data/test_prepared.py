"""Examples are prepared a few at a time; unusable data and missing test data are reported."""

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from service.datasets.dataset import Example
from service.errors import InvalidInput, ZooError
from service.tasks.text.token_classification import SpannedItem
from service.training.data.prepared import CHUNK, PreparedExamples
from service.training.failures import CannotTrain
from service.training.methods.supervised import SupervisedData, prepare_data
from service.training.protocol import Log, WorkerMessage
from service.training.stop_signal import StopSignal
from service.types import Item, TextInstance


class CountingTask:
    """A task that counts the largest number of rows in one call."""

    card = Catalog.from_package().get("all_minilm_l6_v2")
    most = 0

    def preprocess(self, instances: Sequence[Any], paths: Sequence[str]) -> list[Item | ZooError]:
        self.most = max(self.most, len(instances))
        row = Item({"input_ids": np.zeros(9, np.int64)}, length=9)
        return [row if instance.data else InvalidInput("text", "is empty") for instance in instances]


def prepared(texts: Sequence[bytes], task: CountingTask | None = None) -> PreparedExamples:
    examples: Any = [Example(TextInstance(text), 0, "", str(i), str(i)) for i, text in enumerate(texts)]
    return PreparedExamples(examples, task or CountingTask(), cache_bytes=0)  # type: ignore[arg-type]


def data(texts: Sequence[bytes], messages: list[WorkerMessage]) -> SupervisedData:
    """Four examples: two of training, one of validation, one of test data."""
    job: Any = SimpleNamespace(
        splits={"train": (0, 1), "validation": (2,), "test": (3,)},
        targets=lambda indices: np.zeros(len(indices)),
        classifies=True,
    )
    return prepare_data(job, prepared(texts), messages.append, StopSignal())


def test_lengths_of_many_examples_are_read_in_chunks() -> None:
    """A hundred thousand recordings would not fit into memory."""
    task = CountingTask()
    assert prepared([b"x"] * (5 * CHUNK), task).lengths(range(5 * CHUNK)) == [9] * (5 * CHUNK)
    assert task.most <= CHUNK


def test_data_without_usable_training_example_are_rejected() -> None:
    with pytest.raises(CannotTrain, match="not one training example"):
        data([b"", b"", b"x", b"x"], [])


def test_missing_test_data_send_a_warning() -> None:
    messages: list[WorkerMessage] = []
    assert data([b"x", b"x", b"x", b""], messages).splits["test"] == (2,)
    assert any(isinstance(m, Log) and m.level == "warning" and "looks better" in m.text for m in messages)
    messages.clear()
    assert data([b"x"] * 4, messages).splits["test"] == (3,)
    assert not messages


def test_places_of_tokens_count_as_memory() -> None:
    """Texts with spans have more than the network's inputs in memory."""
    calls: list[int] = []

    def preprocess(instances: Sequence[Any], paths: Sequence[str]) -> list[Item]:
        calls.append(len(instances))
        tensors = {"input_ids": np.zeros(9, np.int64)}
        spans, added = np.zeros((9, 2), np.int32), np.zeros(9, np.bool_)
        return [SpannedItem(tensors, 9, text="a text", spans=spans, added=added) for _ in instances]

    examples: Any = [Example(TextInstance(b"a text"), (), "", "0", "0")]
    task: Any = SimpleNamespace(preprocess=preprocess)
    inputs, places, text = 9 * 8, 9 * (8 + 1), sys.getsizeof("a text")
    for size, expected in ((inputs + places + text, [1, 0]), (inputs + places + text - 1, [1, 1])):
        calls.clear()
        small = PreparedExamples(examples, task, cache_bytes=size)
        small.items([0])
        small.items([0])
        assert calls == expected
