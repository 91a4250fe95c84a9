"""The n-gram models beside which a recurrent network is measured."""

import math

import pytest

from model_zoo.training_recipes.character_grams import CharacterGrams


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("context", ["", "ab", "zz", "bananab"])
def test_probabilities_of_all_characters_add_up_to_one(order: int, context: str) -> None:
    grams = CharacterGrams("bananas and bandanas", order, 27)
    letters = "abcdefghijklmnopqrstuvwxyz "
    assert sum(grams.probability(context, letter) for letter in letters) == pytest.approx(1.0)


def test_order_decides_how_much_of_the_context_counts() -> None:
    text = "ab" * 50 + "cb" * 50
    assert CharacterGrams(text, 0, 3).bits([("a", "b")]) == pytest.approx(1.0, abs=0.05)
    assert CharacterGrams(text, 1, 3).bits([("a", "b"), ("xa", "b")]) < 0.05
    assert CharacterGrams("", 2, 4).bits([("ab", "c")]) == 2.0


def test_smoothing_is_that_of_witten_and_bell() -> None:
    """In "aab", `a` is followed by one `a` and one `b`: two times, two kinds."""
    grams = CharacterGrams("aab", 1, 2)
    first = (2 + 2 * 0.5) / (3 + 2)
    assert grams.probability("a", "a") == pytest.approx((1 + 2 * first) / (2 + 2))
    assert grams.bits([("a", "a")]) == pytest.approx(-math.log2((1 + 2 * first) / 4))
