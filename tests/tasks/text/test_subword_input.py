"""Texts become the ids that fastText gives them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo import strict_json
from model_zoo.catalog import Catalog
from service.tasks.text.subword_input import SubwordInput, SubwordVocabulary, fnv1a, ngrams
from service.types import Item, TextInstance

WORDS = ["</s>", "the", "größe"]


def vocabulary(folder: Path, **changed: Any) -> SubwordVocabulary:
    fields = {"words": WORDS, "shortest": 2, "longest": 3, "buckets": 50, "kept": None} | changed
    file = folder / "vocabulary.json"
    file.write_text(strict_json.text(fields))
    return SubwordVocabulary(file)


def grams(word: str, shortest: int, longest: int) -> list[str]:
    return [gram.decode() for gram in ngrams(word, shortest, longest)]


def test_ngrams_are_counted_in_characters() -> None:
    assert grams("<tür>", 2, 3) == ["<t", "<tü", "tü", "tür", "ür", "ür>", "r>"]


def test_borders_alone_are_no_ngrams() -> None:
    assert grams("<ab>", 1, 1) == ["a", "b"]
    assert grams("<ab>", 1, 2) == ["<a", "a", "ab", "b", "b>"]


@pytest.mark.parametrize(("shortest", "longest"), [(0, 0), (2, 1), (9, 12)])
def test_word_may_have_no_ngrams(shortest: int, longest: int) -> None:
    assert grams("<ab>", shortest, longest) == []


def test_hash_is_fnv1a_with_signed_bytes() -> None:
    assert fnv1a(b"") == 2166136261
    assert fnv1a(b"a") == 0xE40C292C
    assert fnv1a(b"foobar") == 0xBF9CF968
    # Of two bytes from 128 on, each with 24 ones in front of it.
    found = 2166136261
    for byte in "ü".encode():
        found = ((found ^ int(np.int8(np.uint8(byte)).astype(np.uint32))) * 16777619) % 2**32
    assert fnv1a("ü".encode()) == found


def test_word_has_its_own_id_before_those_of_its_ngrams(tmp_path: Path) -> None:
    ids = vocabulary(tmp_path).encode("the").tolist()
    expected = [3 + fnv1a(gram.encode()) % 50 for gram in ("<t", "<th", "th", "the", "he", "he>", "e>")]
    assert ids == [1, *expected, 0]


def test_unknown_word_has_ngrams_alone(tmp_path: Path) -> None:
    assert vocabulary(tmp_path).encode("x").tolist() == [
        *(3 + fnv1a(gram) % 50 for gram in (b"<x", b"<x>", b"x>")),
        0,
    ]


def test_ngrams_that_were_not_kept_have_no_id(tmp_path: Path) -> None:
    bucket = fnv1a(b"th") % 50
    found = vocabulary(tmp_path, kept={str(bucket): 0}).encode("the")
    assert found.tolist()[:2] == [1, 3]
    assert set(found.tolist()) == {0, 1, 3}


def test_any_space_separates_words_and_classes_are_no_text(tmp_path: Path) -> None:
    read = vocabulary(tmp_path)
    assert read.encode("the\tthe\n__label__en the").tolist() == read.encode("the the the").tolist()


def test_text_without_words_has_no_ids(tmp_path: Path) -> None:
    assert vocabulary(tmp_path).encode(" \n").tolist() == []
    assert vocabulary(tmp_path, kept={}).encode("unknown").tolist() == []


@pytest.mark.parametrize("changed", [{"words": None}, {"kept": [1]}, {"shortest": None}])
def test_damaged_vocabulary_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the vocabulary has no words"):
        vocabulary(tmp_path, **changed)


def test_texts_are_read_up_to_the_limit_of_the_recipe(tmp_path: Path) -> None:
    vocabulary(tmp_path)
    card = Catalog.from_package().get("lid_176")
    small = card.architecture.model_copy(update={"arguments": {**card.architecture.arguments, "symbols": 53}})
    codec = SubwordInput(card.model_copy(update={"architecture": small}), {"vocabulary": tmp_path / "vocabulary.json"})
    texts = [b"the the", b"the " * 600, b"", b"\xff", b"the " * 500]
    read, cut, empty, damaged, whole = codec.preprocess([TextInstance(t) for t in texts], [f"i[{i}]" for i in range(5)])
    assert isinstance(read, Item)
    assert isinstance(cut, Item)
    assert isinstance(whole, Item)
    assert (read.length, read.notes) == (17, {})
    assert cut.notes == {"truncated": True, "characters": 2400}
    np.testing.assert_array_equal(cut.tensors["input_ids"], whole.tensors["input_ids"])
    assert [str(outcome) for outcome in (empty, damaged)] == [
        "i[2]: is empty; expected a text",
        "i[3]: expected UTF-8, got a byte that is not at position 0",
    ]
    with pytest.raises(ValueError, match="50000 symbols, its vocabulary 53"):
        SubwordInput(card, {"vocabulary": tmp_path / "vocabulary.json"})
