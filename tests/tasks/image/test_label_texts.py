"""Texts about labels are tokenised together, and rows of unlike sizes share a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo.cards.recipes import ImageRecipe, LabelledImageRecipe, TextRecipe
from service.errors import InvalidInput
from service.tasks.image.label_texts import LabelTexts, padded
from tests.support.references.tiny_image_text import word_tokenizer


def recipe(fixed: bool = False, simplified: bool = False) -> LabelledImageRecipe:
    image = ImageRecipe(
        kind="image", size=(2, 2), resize_shorter=2, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    text = TextRecipe(kind="text", max_tokens=8, pad_id=0, max_characters=100)
    return LabelledImageRecipe(
        kind="labelled_image", image=image, text=text, vocabulary=99, fixed_length=fixed, simplified=simplified
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tokenizer")
    word_tokenizer(folder, ["input_ids"])
    return {"tokenizer": folder / "tokenizer.json"}


def test_texts_are_padded_to_the_longest_or_to_the_length_of_the_recipe(tokenizer: dict[str, Path]) -> None:
    texts = (b"the lamp", b"the old lighthouse keeper")
    ids, mask, cut = LabelTexts(recipe(), tokenizer).tokens(texts, "p")
    assert (ids.shape, cut) == ((2, 5), False)
    assert mask.sum(axis=1).tolist() == [3, 5]
    assert ids[0, 3:].tolist() == [0, 0]
    assert LabelTexts(recipe(fixed=True), tokenizer).tokens(texts, "p").ids.shape == (2, 8)


def test_long_text_is_cut_and_keeps_its_end_token(tokenizer: dict[str, Path]) -> None:
    ids, _, cut = LabelTexts(recipe(), tokenizer).tokens((b"the lamp " * 9,), "p")
    assert (ids.shape, cut, ids[0, -1]) == ((1, 8), True, 1)


def test_simplified_texts_have_no_capitals_no_punctuation_and_single_spaces(tokenizer: dict[str, Path]) -> None:
    plain, simple = LabelTexts(recipe(), tokenizer), LabelTexts(recipe(simplified=True), tokenizer)
    np.testing.assert_array_equal(
        simple.tokens((b" The  old,\n(lamp)!? ",), "p").ids, plain.tokens((b"the old lamp",), "p").ids
    )


def test_tokens_of_the_same_texts_are_computed_once_unless_they_are_long(tokenizer: dict[str, Path]) -> None:
    texts = LabelTexts(recipe(), tokenizer)
    first = texts.tokens((b"the lamp", b"film"), "p")
    assert texts.tokens((b"the lamp", b"film"), "q").ids is first.ids
    assert not first.ids.flags.writeable
    long = (b"lamp " * 4000,)
    assert texts.tokens(long, "p").ids is not texts.tokens(long, "p").ids


@pytest.mark.parametrize("text", [b"", b" \n", b"\xff"])
def test_blank_text_or_one_that_is_no_text_is_named(tokenizer: dict[str, Path], text: bytes) -> None:
    with pytest.raises(InvalidInput) as raised:
        LabelTexts(recipe(), tokenizer).tokens((b"lamp", text), "p")
    assert raised.value.field == "p[1]"


def test_rows_of_unlike_sizes_are_filled_by_their_first_text_and_by_padding() -> None:
    rows = [np.array([[1, 2, 3]]), np.array([[4, 5], [6, 7]])]
    assert padded(rows, 9).tolist() == [[[1, 2, 3], [1, 2, 3]], [[4, 5, 9], [6, 7, 9]]]
