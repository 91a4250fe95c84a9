"""Words stand for labels: by WordNet for ImageNet's classes, by the words of their names for others."""

from __future__ import annotations

import pytest

from service.cli.photos.errors import UnknownWord
from service.cli.photos.kinds import imagenet_kinds, read_kinds, singulars
from service.cli.photos.vocabulary import Vocabulary, imagenet_offset

TABLE = imagenet_kinds()
IMAGENET = [", ".join(sorted(names)) for names in TABLE.names]
"""The 1,000 classes by their names."""


@pytest.fixture(scope="module")
def imagenet() -> Vocabulary:
    return Vocabulary(IMAGENET, TABLE)


def classes(vocabulary: Vocabulary, *words: str) -> frozenset[int]:
    [term] = vocabulary.terms(words)
    return term.classes


def test_cat_is_every_domestic_cat_and_every_big_cat_of_wordnet(imagenet: Vocabulary) -> None:
    assert classes(imagenet, "cat") == frozenset(range(281, 294))


def test_dog_is_every_breed_and_no_wolf_and_no_hot_dog(imagenet: Vocabulary) -> None:
    assert classes(imagenet, "dog") == frozenset(range(151, 269))


@pytest.mark.parametrize(
    ("word", "some", "none"),
    [
        ("bird", {7, 84, 145}, {281, 404}),
        ("animal", {0, 281, 151, 323}, {817}),
        ("vehicle", {817, 751, 779, 404}, {281}),
        ("food", {934, 963, 949}, {817}),
        ("flower", {985}, {281}),
        ("insect", {309, 326}, {76}),
    ],
)
def test_kind_finds_its_classes_and_no_others(imagenet: Vocabulary, word: str, some: set[int], none: set[int]) -> None:
    found = classes(imagenet, word)
    assert found >= some
    assert not found & none


@pytest.mark.parametrize("word", ["cats", "Cat", "CATS", "  cat "])
def test_plural_and_case_are_forgiven(imagenet: Vocabulary, word: str) -> None:
    assert classes(imagenet, word) == classes(imagenet, "cat")


@pytest.mark.parametrize(
    ("plural", "singular"), [("geese", "goose"), ("wolves", "wolf"), ("buses", "bus"), ("foxes", "fox")]
)
def test_irregular_plural_is_forgiven(imagenet: Vocabulary, plural: str, singular: str) -> None:
    assert classes(imagenet, plural) == classes(imagenet, singular)


def test_phrase_is_taken_as_a_whole_and_other_words_one_by_one(imagenet: Vocabulary) -> None:
    assert [term.text for term in imagenet.terms(["tiger", "cats"])] == ["tiger cats"]
    assert [term.text for term in imagenet.terms(["cat", "vehicle"])] == ["cat", "vehicle"]
    assert classes(imagenet, "tiger-cat") == frozenset({282})


def test_word_within_a_name_finds_its_classes(imagenet: Vocabulary) -> None:
    assert 235 in classes(imagenet, "german")


def test_words_that_say_nothing_are_no_kinds(imagenet: Vocabulary) -> None:
    for word in ("entity", "physical object", "abstraction"):
        with pytest.raises(UnknownWord):
            imagenet.terms([word])


def test_unknown_word_names_similar_ones(imagenet: Vocabulary) -> None:
    with pytest.raises(UnknownWord, match="no label of the index has the word 'vehicel'") as error:
        imagenet.terms(["vehicel"])
    assert "vehicle" in error.value.near


def test_class_for_the_background_moves_the_others_by_one() -> None:
    moved = Vocabulary(["background", *IMAGENET], TABLE)
    assert classes(moved, "cat") == frozenset(range(282, 295))


def test_labels_in_another_order_are_not_taken_for_imagenets() -> None:
    assert imagenet_offset(IMAGENET[::-1], TABLE) is None
    assert imagenet_offset(IMAGENET[:10], TABLE) is None


def test_labels_of_another_classifier_are_found_by_their_words_alone() -> None:
    own = Vocabulary(["tabby_cat", "cats and dogs", "caterpillar", "Volkswagen"], TABLE)
    assert not own.is_imagenet
    assert classes(own, "cat") == frozenset({0, 1})
    assert classes(own, "cats") == frozenset({0, 1})
    assert classes(own, "dog") == frozenset({1})
    with pytest.raises(UnknownWord):
        own.terms(["animal"])


def test_table_has_a_line_for_each_class_and_no_cycle() -> None:
    assert len(TABLE.names) == 1000
    assert all(TABLE.names)


def test_table_is_read_with_comments_and_plurals() -> None:
    lines = "".join(f"name{i}\t1000\n" for i in range(1000))
    table = read_kinds(f"# a comment\n{lines}Kind, other-kind\t\n\nmice\tmouse\n")
    assert table.kinds["kind"] == table.kinds["other kind"] == frozenset(range(1000))
    assert table.plurals == {"mice": "mouse"}


def test_long_word_has_no_singular() -> None:
    assert list(singulars("s" * 100, {})) == ["s" * 100]
