"""Texts become the tokens on which the model was trained, however unusual they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput
from service.tasks.composed import SequenceTask
from service.tasks.embedding import EmbeddingAnswers
from service.tasks.text.token_input import TokenInput
from service.types import Embedding, ImageInstance, Item, Options, TensorInstance, TextInstance

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


# ── together ──────────────────────────────────────────────────────────────────────────────────────────────────────


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


def test_answer_is_the_vector_unchanged(task: SequenceTask) -> None:
    row = np.arange(384, dtype=np.float32)
    answer = task.postprocess({"embedding": row}, Item({}), Options())
    assert isinstance(answer, Embedding)
    np.testing.assert_array_equal(answer.values, row)


@pytest.mark.parametrize("options", [Options(top_k=3), Options(threshold=0.5)])
def test_option_without_meaning_is_refused(task: SequenceTask, options: Options) -> None:
    with pytest.raises(InvalidInput, match="has no meaning for the task feature-extraction"):
        task.check(options)


# ── tokens as they come ───────────────────────────────────────────────────────────────────────────────────────────


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


# ── meaning ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_paraphrase_is_nearer_than_an_unrelated_sentence(task: SequenceTask, served: Callable[[str], Any]) -> None:
    runtime = served("all_minilm_l6_v2").runtime
    items = prepare(task, "A cat sleeps on the sofa.", "A kitten naps on the couch.", "Stocks fell sharply.")
    vectors = runtime.run(task.collate(items)[0])["embedding"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]
