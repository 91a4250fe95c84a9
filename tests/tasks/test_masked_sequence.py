"""Sequences of different lengths share a batch under a mask, and wrong masks and ids are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput
from service.tasks.composed import SequenceTask
from service.tasks.embedding import EmbeddingAnswers
from service.tasks.text.token_input import TokenInput
from service.types import Item, TensorInstance, TextInstance

pytestmark = pytest.mark.weights  # the tokenizer is downloaded with the weights

CLS, SEP, PAD = 101, 102, 0


@pytest.fixture
def task(served: Callable[[str], Any]) -> SequenceTask:
    made = served("all_minilm_l6_v2").task
    assert isinstance(made, SequenceTask)
    assert isinstance(made.inputs, TokenInput)
    assert isinstance(made.answers, EmbeddingAnswers)
    return made


def prepare(task: SequenceTask, *texts: str | bytes) -> list[Any]:
    instances = [TextInstance(text.encode() if isinstance(text, str) else text) for text in texts]
    return task.preprocess(instances, [f"instances[{i}]" for i in range(len(texts))])


def ids(item: Item) -> list[int]:
    return item.tensors["input_ids"].tolist()


def test_texts_of_different_lengths_share_a_masked_batch(task: SequenceTask) -> None:
    items = prepare(task, "a", "a much longer sentence than that", "two words")
    batch, padding = task.collate(items)
    longest = max(item.length for item in items)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, longest)
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
    for row, item in enumerate(items):
        assert batch["input_ids"][row, : item.length].tolist() == ids(item)
        assert (batch["input_ids"][row, item.length :] == PAD).all()
        assert batch["attention_mask"][row].tolist() == [1] * item.length + [0] * (longest - item.length)
    cells = longest * 3
    assert padding == pytest.approx((cells - sum(item.length for item in items)) / cells)


def test_texts_are_padded_to_the_least_length_and_never_below_the_longest(task: SequenceTask) -> None:
    items = prepare(task, "a", "two words")
    batch, padding = task.collate(items, 16)
    assert batch["input_ids"].shape == (2, 16)
    assert batch["attention_mask"].sum(1).tolist() == [item.length for item in items]
    assert padding == pytest.approx(1 - sum(item.length for item in items) / 32)
    shorter, _ = task.collate(items, 2)
    np.testing.assert_array_equal(shorter["input_ids"], task.collate(items)[0]["input_ids"])


def test_texts_of_one_length_are_not_padded(task: SequenceTask) -> None:
    assert task.collate(prepare(task, "one", "two"))[1] == 0


def tokens(input_ids: Any, mask: Any = None, dtype: Any = np.int64) -> TensorInstance:
    given_ids = np.asarray(input_ids, dtype)
    given_mask = np.ones(given_ids.shape, np.int64) if mask is None else np.asarray(mask, np.int64)
    return TensorInstance({"input_ids": given_ids, "attention_mask": given_mask})


def test_token_tensors_are_accepted_unchanged(task: SequenceTask) -> None:
    item = task.row(tokens([CLS, 5, 30_521, SEP], [1, 1, 1, 0]), "t")
    assert (ids(item), item.length) == ([CLS, 5, 30_521, SEP], 4)


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (tokens([CLS, 30_522]), "t.input_ids: expected token ids in 0..30521, got 30522"),
        (tokens([CLS, -1]), "got -1"),
        (tokens([CLS, 2**62]), f"got {2**62}"),
        (tokens([1, 2], [1, 2]), "t.attention_mask: expected zeros and ones, with at least one 1"),
        (tokens([1, 2], [1, -1]), "zeros and ones"),
        (tokens([1, 2], [0, 0]), "at least one 1"),
        (tokens([1, 2], [1]), "t.attention_mask: expected 2 elements as input_ids has, got 1"),
        (tokens([1, 2], []), "expected 2 elements"),
        (tokens([]), "t.input_ids: is empty"),
        (tokens([1] * 257), "expected at most 256 elements, got 257"),
        (tokens([[1, 2]]), "expected shape [-1] a row, got [1, 2]"),
        (tokens([1, 2], dtype=np.int32), "expected INT64, got int32"),
        (TensorInstance({"input_ids": np.ones(3, np.int64)}), "input attention_mask is missing"),
    ],
)
def test_wrong_tokens_are_refused_with_the_expected_form(
    task: SequenceTask, instance: TensorInstance, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        task.row(instance, "t")
    assert says in caught.value.message
