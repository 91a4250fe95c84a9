"""Texts become the tokens on which the model was trained, however unusual they are."""

from collections.abc import Callable
from typing import Any

import pytest

from service.errors import InvalidInput
from service.tasks.composed import SequenceTask
from service.tasks.embedding import EmbeddingAnswers
from service.tasks.text.token_input import TokenInput
from service.types import ImageInstance, Item, TextInstance

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


def test_token_ids_equal_those_of_transformers(task: SequenceTask, served: Callable[[str], Any], zoo_home: Any) -> None:
    from transformers import BertTokenizer, BertTokenizerFast  # noqa: F401

    from model_zoo.store import Store

    found = Store(zoo_home).find(task.card)
    assert found is not None
    theirs = BertTokenizerFast(tokenizer_file=str(found.files["tokenizer"]))
    texts = [
        "A man is playing a guitar.",
        "Größe, naïve café 🎸 世界",
        "don't — stop… ‘now’",
        "[SEP] [CLS] </s>",
        "a\x00b",
    ]
    for text, item in zip(texts, prepare(task, *texts), strict=True):
        assert ids(item) == theirs(text, truncation=True, max_length=256)["input_ids"]
        assert ids(item)[0] == CLS
        assert ids(item)[-1] == SEP
        assert item.tensors["attention_mask"].tolist() == [1] * len(ids(item))
        assert item.length == len(ids(item))
        assert item.notes == {}


@pytest.mark.parametrize("text", ["", " ", "\n\t  \r\n", "\u2003\u00a0"])
def test_blank_text_is_refused(task: SequenceTask, text: str) -> None:
    (error,) = prepare(task, text)
    assert isinstance(error, InvalidInput)
    assert error.message == "instances[0]: is empty; expected a text"


@pytest.mark.parametrize(("data", "at"), [(b"\xff", 0), (b"caf\xe9", 3), (b"ok \xed\xa0\x80", 3), (b"\xc3", 0)])
def test_bytes_that_are_not_utf8_are_refused_with_their_position(task: SequenceTask, data: bytes, at: int) -> None:
    (error,) = prepare(task, data)
    assert isinstance(error, InvalidInput)
    assert error.message == f"instances[0]: expected UTF-8, got a byte that is not at position {at}"


def test_text_of_100_000_characters_is_truncated_with_a_note(task: SequenceTask) -> None:
    text = "guitar " * 14_286
    (item,) = prepare(task, text[:100_000])
    assert item.length == len(ids(item)) == 256
    assert (ids(item)[0], ids(item)[-1]) == (CLS, SEP)
    assert item.notes["truncated"] is True
    assert item.notes["characters"] == 100_000


def test_word_of_100_000_characters_is_truncated_with_a_note(task: SequenceTask) -> None:
    (item,) = prepare(task, "x" * 100_000)
    assert item.length <= 256
    assert item.notes["truncated"] is True


def test_text_that_just_fits_is_not_truncated(task: SequenceTask) -> None:
    fits, over = prepare(task, "guitar " * 254, "guitar " * 255)
    assert (fits.length, fits.notes) == (256, {})
    assert over.length == 256
    assert over.notes["truncated"] is True
    assert ids(fits) == ids(over)


def test_order_is_kept_beside_failures(task: SequenceTask) -> None:
    outcomes = prepare(task, "one", "", "two", b"\xff", "three", "  ")
    alone = [prepare(task, text)[0] for text in ("one", "two", "three")]
    assert [ids(outcomes[i]) for i in (0, 2, 4)] == [ids(item) for item in alone]
    for i in (1, 3, 5):
        assert isinstance(outcomes[i], InvalidInput)
        assert outcomes[i].field == f"instances[{i}]"


def test_failures_alone_are_returned_in_order(task: SequenceTask) -> None:
    assert [type(outcome) for outcome in prepare(task, "", b"\xff")] == [InvalidInput, InvalidInput]


def test_other_kind_of_instance_is_refused_by_name(task: SequenceTask) -> None:
    (error,) = task.preprocess([ImageInstance(b"")], ["instances[0]"])
    assert "expected text or tensors for model 'all_minilm_l6_v2', got image" in str(error)
