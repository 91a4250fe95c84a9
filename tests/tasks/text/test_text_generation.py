"""Generated text is bounded, and the same for the same seed; each pass adds one character."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput
from service.tasks.text.text_generation import GenerationItem, TextGeneration
from service.types import GeneratedText, ImageInstance, Item, Options, TensorInstance, TextInstance

pytestmark = pytest.mark.weights  # the alphabet is downloaded with the weights

WINDOW, BORDER = 40, "<s>"


@pytest.fixture
def real(served: Callable[[str], Any]) -> Any:
    return served("char_lstm")


@pytest.fixture
def task(real: Any) -> TextGeneration:
    assert isinstance(real.task, TextGeneration)
    return real.task


def prepare(task: TextGeneration, text: str | bytes) -> Any:
    (item,) = task.preprocess([TextInstance(text.encode() if isinstance(text, str) else text)], ["instances[0]"])
    return item


def write(real: Any, text: str, **options: Any) -> GeneratedText:
    """Runs every pass alone, to the end."""
    item, chosen = prepare(real.task, text), Options(**options)
    for _ in range(3000):
        (row,) = real.task.split(real.runtime.run(real.task.collate([item])[0]), [item])
        following = real.task.next_item(item, row, chosen)
        if following is None:
            break
        item = following
    answer = real.task.postprocess(row, item, chosen)
    assert isinstance(answer, GeneratedText)
    return answer


def seen(task: TextGeneration, item: Item) -> str:
    return task.alphabet.decode(item.tensors["input_ids"].tolist())


# ── what the network sees ─────────────────────────────────────────────────────────────────────────────────────────


def test_short_text_is_at_the_end_of_the_window_after_the_border(task: TextGeneration) -> None:
    ids = prepare(task, "Hello").tensors["input_ids"].tolist()
    assert ids[:-6] == [0] * (WINDOW - 6)
    assert ids[-6] == task.alphabet.border
    assert task.alphabet.decode(ids) == "Hello"
    assert prepare(task, "Hello").tensors["attention_mask"].tolist() == [1] * WINDOW


def test_long_text_is_truncated_to_its_end_with_a_note(task: TextGeneration) -> None:
    text = "".join(f"sentence number {i}. " for i in range(200))
    item = prepare(task, text)
    assert seen(task, item) == text[-WINDOW:]
    assert item.notes == {"truncated": True, "characters": len(text)}
    assert prepare(task, text[-WINDOW:]).notes == {}


def test_unknown_characters_are_dropped(task: TextGeneration) -> None:
    assert seen(task, prepare(task, "a\x00b\U0001fbf9c")) == "abc"


def test_empty_text_is_continued(real: Any) -> None:
    assert write(real, "", seed=1, max_new_tokens=20).text


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (TextInstance(b"caf\xe9"), "expected UTF-8, got a byte that is not at position 3"),
        (ImageInstance(b""), "expected text or tensors for model 'char_lstm', got image"),
    ],
)
def test_input_that_is_no_text_is_refused(task: TextGeneration, instance: Any, says: str) -> None:
    (error,) = task.preprocess([instance], ["instances[0]"])
    assert isinstance(error, InvalidInput)
    assert says in error.message


# ── what it writes ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "goes_on"), [("My girlfriend and I have bee", "n "), ("TIL that the Unite", "d States"), ("Thank yo", "u")]
)
def test_unfinished_words_are_completed(real: Any, text: str, goes_on: str) -> None:
    answer = write(real, text, temperature=0.0, max_new_tokens=len(goes_on))
    assert (answer.text, answer.tokens, answer.finish_reason) == (goes_on, len(goes_on), "length")


def test_seed_determines_the_text(real: Any) -> None:
    one, same, other = (write(real, "Why do we", seed=seed, max_new_tokens=60, temperature=1.0) for seed in (5, 5, 6))
    assert one == same
    assert one.text != other.text


def test_calls_without_a_seed_differ(real: Any) -> None:
    assert len({write(real, "Why do we", max_new_tokens=60, temperature=1.0).text for _ in range(3)}) > 1


def test_temperature_near_0_is_deterministic(real: Any) -> None:
    texts = {write(real, "Why do we", max_new_tokens=30, temperature=t, seed=s).text for t, s in ((0.0, 1), (1e-9, 2))}
    assert len(texts) == 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("spoilt", [np.nan, -np.inf, np.inf])
def test_logits_that_are_not_finite_raise(task: TextGeneration, temperature: float, spoilt: float) -> None:
    """A fine-tuned model may have diverged: no text is better than an arbitrary one."""
    item = prepare(task, "Why")
    symbols = task.card.signature.outputs[0].shape[-1]
    row = {task.card.signature.outputs[0].name: np.full(symbols, spoilt, np.float32)}
    for _ in range(2):
        with pytest.raises(ValueError, match="not finite"):
            task.next_item(item, row, Options(temperature=temperature))
    with pytest.raises(ValueError, match="not finite"):
        task.postprocess(row, prepare(task, "Why"), Options())


def test_generation_stops_where_the_model_ends_the_text(real: Any) -> None:
    answers = [write(real, "What is your favorite ", seed=seed, max_new_tokens=400) for seed in range(3)]
    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert ended, [answer.text for answer in answers]
    for answer in ended:
        assert answer.tokens == len(answer.text) < 400
        assert BORDER not in answer.text


def test_default_length_is_that_of_the_card(real: Any) -> None:
    assert write(real, "The", temperature=0.0).tokens <= real.task.recipe.max_new_tokens


def test_padding_is_never_generated(task: TextGeneration) -> None:
    item = prepare(task, "x")
    logits = np.zeros(465, np.float32)
    logits[0] = 1e6
    for seed in range(20):
        item = prepare(task, "x")
        task.next_item(item, {"logits": logits}, Options(seed=seed, temperature=2.0))
        assert isinstance(item, GenerationItem)
        assert 0 not in item.state.ids


def test_two_calls_share_no_state(task: TextGeneration) -> None:
    first, second = prepare(task, "x"), prepare(task, "x")
    task.next_item(first, {"logits": np.eye(465, dtype=np.float32)[5] * 100}, Options(temperature=0.0))
    assert first.state.ids == [5]
    assert second.state.ids == []


def test_tensors_take_one_pass(task: TextGeneration) -> None:
    item = task.row(TensorInstance({"input_ids": np.ones(40, np.int64), "attention_mask": np.ones(40, np.int64)}), "t")
    assert task.next_item(item, {"logits": np.zeros(465, np.float32)}, Options()) is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_new_tokens": 0}, r"options\.max_new_tokens: expected 1\.\.2,000, got 0"),
        ({"max_new_tokens": 2001}, "got 2001"),
        ({"temperature": -0.1}, r"options\.temperature: expected 0\.\.2, got -0\.1"),
        ({"temperature": float("nan")}, "got nan"),
        ({"seed": -1}, r"options\.seed: expected 0 or more, got -1"),
        ({"top_k": 3}, r"options\.top_k: has no meaning for the task text-generation"),
    ],
)
def test_options_out_of_bounds_are_refused(task: TextGeneration, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        task.check(Options(**options))


@pytest.mark.parametrize("name", ["max_new_tokens", "temperature", "seed"])
def test_other_tasks_refuse_generation_options(served: Callable[[str], Any], name: str) -> None:
    with pytest.raises(InvalidInput, match=f"options.{name}: has no meaning for the task feature-extraction"):
        served("all_minilm_l6_v2").task.check(Options(**{name: 1}))


def test_english_text_costs_far_fewer_bits_than_chance(real: Any) -> None:
    """About 8.9 bits a character would be chance."""
    text = "What is the most beautiful thing you have ever seen in your whole life?"
    ids = np.concatenate([np.zeros(WINDOW, np.int64), [real.task.alphabet.border], real.task.alphabet.encode(text)])
    rows = np.stack([ids[i - WINDOW : i] for i in range(WINDOW + 1, len(ids))])
    logits = real.runtime.run({"input_ids": rows, "attention_mask": np.ones_like(rows)})["logits"].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    bits = -np.log2(shares[np.arange(len(rows)), ids[WINDOW + 1 :]]).mean()
    assert bits < 2.5
