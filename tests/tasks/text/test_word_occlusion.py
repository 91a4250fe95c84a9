"""Words of a text are left out one at a time."""

import numpy as np
import pytest

from service.errors import InvalidInput
from service.tasks.occlusion import MOST_PARTS
from service.tasks.text.word_occlusion import NO_WORD, word_occlusions
from service.types import HeatMap, TensorInstance, TextInstance, TextPairInstance


def variants(text: str) -> list[str]:
    found = word_occlusions(TextInstance(text.encode()), "instances[0]")
    rest = [found.variant(i) for i in range(found.count)]
    return [each.data.decode() for each in rest if isinstance(each, TextInstance)]


def parts(text: str) -> list[str]:
    """The parts by their spans, which count code points."""
    found = word_occlusions(TextInstance(text.encode()), "instances[0]")
    weights = found.weights(np.zeros(found.count))
    assert not isinstance(weights, HeatMap)
    assert all(text[word.start : word.end] == word.text for word in weights)
    return [word.text for word in weights]


def test_each_variant_lacks_one_word() -> None:
    assert variants("good  tea, bad box") == ["  tea, bad box", "good   bad box", "good  tea,  box", "good  tea, bad "]
    assert parts("good  tea, bad box") == ["good", "tea,", "bad", "box"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("良い天気", ["良", "い", "天", "気"]),
        ("tea 茶 😀ok", ["tea", "茶", "😀ok"]),
        ("e\u0301t\u00e9", ["e\u0301t\u00e9"]),
    ],
)
def test_scripts_without_spaces_are_taken_by_character(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


def test_text_of_one_word_is_compared_with_a_full_stop() -> None:
    assert variants(" good ") == [NO_WORD]


def test_blank_text_is_refused_as_by_every_task() -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        variants(" \n")


@pytest.mark.parametrize("count", [MOST_PARTS, MOST_PARTS + 1, 257, 5000])
def test_long_text_is_left_out_in_groups_that_cover_it(count: int) -> None:
    words = [f"w{i}" for i in range(count)]
    found = parts(" ".join(words))
    assert len(found) == MOST_PARTS
    assert " ".join(found).split() == words


def test_weights_are_the_losses_in_order() -> None:
    weights = word_occlusions(TextInstance(b"a b"), "").weights(np.array([0.5, -0.25]))
    assert not isinstance(weights, HeatMap)
    assert [(word.text, word.weight) for word in weights] == [("a", 0.5), ("b", -0.25)]


@pytest.mark.parametrize("instance", [TextPairInstance(b"a", b"b"), TensorInstance({})])
def test_pairs_and_tensors_are_refused(instance: TextPairInstance | TensorInstance) -> None:
    with pytest.raises(InvalidInput, match="single texts"):
        word_occlusions(instance, "instances[0]")
