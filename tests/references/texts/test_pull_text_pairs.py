"""Networks that read two texts together, and those whose classes do not exclude each other, answer as their makers' pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers

from service.errors import InvalidInput
from service.references.pull import Pulled
from service.types import Classification, Item, Options, TensorInstance, TextInstance, TextPairInstance
from tests.references.conftest import Puller, served
from tests.support.references.tiny_texts import multi_label_classifier, pair_classifier, roberta_pair_classifier

MAKERS = {"types": pair_classifier, "no types": roberta_pair_classifier, "several labels": multi_label_classifier}
PAIRS = [
    ("the film was a delight", "light lamp"),
    ("lamp", "the old lighthouse keeper climbed stairs each evening to light the lamp " * 20),
    ("the film was a delight " * 40, "the lamp " * 40),
    ("?", "é🥐"),
]


@pytest.fixture(scope="module", params=MAKERS)
def pulled(request: pytest.FixtureRequest, pull_tiny: Puller) -> Pulled:
    return pull_tiny(MAKERS[request.param])


def folder_of(pulled: Pulled) -> str:
    return pulled.card.reference.removeprefix("local:")


def items_of(pulled: Pulled, *pairs: tuple[str, ...]) -> tuple[Any, Any, list[Item]]:
    task, runtime = served(pulled)
    made = [
        TextPairInstance(*(text.encode() for text in pair)) if len(pair) == 2 else TextInstance(pair[0].encode())
        for pair in pairs
    ]
    items = task.preprocess(made, ["input"] * len(made))
    assert all(isinstance(item, Item) for item in items), items
    return task, runtime, [item for item in items if isinstance(item, Item)]


def test_answers_to_pairs_and_single_texts_equal_those_of_the_pipeline(pulled: Pulled) -> None:
    pipeline: Any = transformers.pipeline
    pipe = pipeline("text-classification", model=folder_of(pulled), device="cpu")
    mixed = [*PAIRS, ("the old lighthouse",)]
    task, runtime, items = items_of(pulled, *mixed)
    rows = task.split(runtime.run(task.collate(items)[0]), items)
    for pair, item, row in zip(mixed, items, rows, strict=True):
        raw = {"text": pair[0], "text_pair": pair[1]} if len(pair) == 2 else pair[0]
        expected = pipe(raw, top_k=None, truncation=True, max_length=64)
        answer = task.postprocess(row, item, Options(top_k=10))
        assert isinstance(answer, Classification)
        assert [label.name for label in answer.labels] == [label["label"] for label in expected]
        scores = [label["score"] for label in expected]
        np.testing.assert_allclose([label.score for label in answer.labels], scores, atol=1e-4)


def test_pairs_in_a_padded_batch_equal_pairs_alone(pulled: Pulled) -> None:
    task, runtime, items = items_of(pulled, *PAIRS)
    together = task.split(runtime.run(task.collate(items, 64)[0]), items)
    for item, row in zip(items, together, strict=True):
        (alone,) = task.split(runtime.run(task.collate([item])[0]), [item])
        np.testing.assert_allclose(row["logits"], alone["logits"], atol=pulled.card.tolerance.max_abs_error)


def test_second_text_has_a_number_of_its_own(pull_tiny: Puller) -> None:
    pulled = pull_tiny(pair_classifier)
    _, _, (item,) = items_of(pulled, ("lamp light", "stairs"))
    assert item.tensors["token_type_ids"].tolist() == [0, 0, 0, 0, 1, 1]
    assert item.notes == {}
    _, _, (long,) = items_of(pulled, PAIRS[2])
    assert (long.notes["truncated"], long.length) == (True, 64)


@pytest.mark.parametrize(
    ("pair", "field"),
    [
        (TextPairInstance(b"", b"a"), "input.text"),
        (TextPairInstance(b"a", b" "), "input.text_pair"),
        (TextPairInstance(b"a", b"\xff"), "input.text_pair"),
        (TextInstance(b"\xff"), "input"),
    ],
)
def test_wrong_text_of_a_pair_is_named_and_fails_alone(pulled: Pulled, pair: Any, field: str) -> None:
    task, _ = served(pulled)
    bad, good = task.preprocess([pair, TextPairInstance(b"lamp", b"light")], ["input", "other"])
    assert isinstance(bad, InvalidInput)
    assert bad.field == field
    assert isinstance(good, Item)


def test_wrong_token_types_are_refused(pull_tiny: Puller) -> None:
    task, _ = served(pull_tiny(pair_classifier))
    right = {name: np.array([2, 8, 3], np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    right["attention_mask"] = np.ones(3, np.int64)
    right["token_type_ids"] = np.array([0, 1, 1], np.int64)
    assert task.row(TensorInstance(right), "row").length == 3
    for types in ([0, 2, 0], [-1, 0, 0], [0, 1]):
        wrong = TensorInstance({**right, "token_type_ids": np.array(types, np.int64)})
        with pytest.raises(InvalidInput) as raised:
            task.row(wrong, "row")
        assert raised.value.field == "row.token_type_ids"
