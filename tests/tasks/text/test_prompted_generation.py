"""Prompts and options of a network that writes text are bounded, and what does not fit is refused by its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import WrittenExpectation
from model_zoo.references.derive import derive
from model_zoo.references.local import LocalRepository
from service.errors import InvalidInput
from service.tasks.text.prompted_generation import PromptedGeneration
from service.types import GeneratedText, ImageInstance, Instance, Options, TensorInstance, TextInstance
from tests.support.references.tiny_generation import gpt2


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> PromptedGeneration:
    folder = gpt2(tmp_path_factory.mktemp("tiny"))
    plan = derive(LocalRepository(folder))
    files: dict[str, Any] = {role: {"path": path, "sha256": "0" * 64, "bytes": 1} for role, path in plan.roles.items()}
    source = {"kind": "local", "folder": ".", "files": files}
    card = Card.model_validate({**plan.fields, "source": source})
    return PromptedGeneration(card, files={"tokenizer": Path(folder / "tokenizer.json")})


def refused(task: PromptedGeneration, instance: Instance) -> InvalidInput:
    (found,) = task.preprocess([instance], ["instances[0]"])
    assert isinstance(found, InvalidInput)
    return found


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (TextInstance(b""), "is empty"),
        (TextInstance(b" \n "), "is empty"),
        (TextInstance(b"caf\xe9"), "expected UTF-8"),
        (ImageInstance(b"\xff\xd8"), "expected text or tensors for model 'model', got image"),
    ],
)
def test_wrong_prompt_is_refused(task: PromptedGeneration, instance: Instance, says: str) -> None:
    error = refused(task, instance)
    assert error.field == "instances[0]"
    assert says in error.message


def test_bad_prompt_fails_alone(task: PromptedGeneration) -> None:
    found = task.preprocess([TextInstance(b"lamp"), TextInstance(b""), TextInstance(b"old")], ["a", "b", "c"])
    assert [isinstance(one, InvalidInput) for one in found] == [False, True, False]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options(max_new_tokens=49), "options.max_new_tokens"),
        (Options(max_new_tokens=0), "options.max_new_tokens"),
        (Options(max_new_tokens=-1), "options.max_new_tokens"),
        (Options(temperature=0.7), "options.temperature"),
        (Options(seed=1), "options.seed"),
        (Options(top_k=1), "options.top_k"),
    ],
)
def test_option_out_of_its_bounds_is_refused_by_name(task: PromptedGeneration, options: Options, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        task.check(options)
    assert raised.value.field == field


def test_likeliest_token_may_be_asked_for(task: PromptedGeneration) -> None:
    task.check(Options(temperature=0.0, max_new_tokens=48))


def tensors(**changed: Any) -> TensorInstance:
    row = {
        "input_ids": np.array([5, 6, 7], np.int64),
        "attention_mask": np.array([1, 1, 1], np.int64),
        "max_new_tokens": np.array([3], np.int64),
        **changed,
    }
    return TensorInstance({name: array for name, array in row.items() if array is not None})


@pytest.mark.parametrize(
    ("changed", "field", "says"),
    [
        ({"max_new_tokens": None}, "t", "max_new_tokens is missing"),
        ({"max_new_tokens": np.array([0], np.int64)}, "t.max_new_tokens", "expected 1..48, got 0"),
        ({"max_new_tokens": np.array([49], np.int64)}, "t.max_new_tokens", "expected 1..48, got 49"),
        ({"max_new_tokens": np.array([2.0])}, "t.max_new_tokens", "expected INT64"),
        ({"input_ids": np.array([5, 9999, 7], np.int64)}, "t.input_ids", "got 9999"),
        ({"attention_mask": np.zeros(3, np.int64)}, "t.attention_mask", "at least one 1"),
        ({"attention_mask": np.ones(2, np.int64)}, "t.attention_mask", "expected 3 elements"),
        ({"input_ids": np.ones(49, np.int64), "attention_mask": np.ones(49, np.int64)}, "t.input_ids", "at most 48"),
    ],
)
def test_wrong_tensors_are_refused(task: PromptedGeneration, changed: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        task.row(tensors(**changed), "t")
    assert raised.value.field == field
    assert says in raised.value.message


def test_rows_are_padded_at_their_beginning(task: PromptedGeneration) -> None:
    items = [task.row(tensors(), "t"), task.row(tensors(attention_mask=np.array([0, 1, 0], np.int64)), "t")]
    batch, share = task.collate(items)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 6]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["max_new_tokens"].tolist() == [[3], [3]]
    assert share == pytest.approx(1 / 3)


def test_rows_are_cut_to_their_answers(task: PromptedGeneration) -> None:
    items = [task.row(tensors(), "t")] * 2
    outputs = {
        "output_ids": np.array([[8, 9], [4, -1]], np.int64),
        "probabilities": np.array([[0.5, 0.25], [0.75, 0.0]], np.float32),
    }
    rows = task.split(outputs, items)
    assert [row["output_ids"].tolist() for row in rows] == [[8, 9], [4]]
    assert [row["probabilities"].tolist() for row in rows] == [[0.5, 0.25], [0.75]]


def test_golden_case_expects_the_same_text(task: PromptedGeneration) -> None:
    expect = WrittenExpectation(written=" the lamp")
    assert task.golden_problem(expect, GeneratedText(" the lamp", 3, "length"), {}) is None
    assert task.golden_problem(expect, GeneratedText(" the light", 3, "length"), {}) == (
        "expected ' the lamp', got ' the light'"
    )
