"""Texts become the ids that fastText gives them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo import strict_json
from service.tasks.text.subword_input import SubwordVocabulary, fnv1a, ngrams

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
