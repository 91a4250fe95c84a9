"""Files of fastText are read as it writes them, and damaged ones are refused."""

import json
from typing import Any

import numpy as np
import pytest

from model_zoo.formats.fasttext import read_classifier, word_paths
from tests.support.model_zoo.fasttext_files import HIERARCHICAL, fasttext_file, quantised

RNG = np.random.default_rng(0)
WORDS = ["</s>", "the", "größe"]
LABELS = {"en": 9, "de": 5, "fr": 2}
OUTPUT = RNG.standard_normal((3, 6)).astype(np.float32)


def numbers(rows: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal((rows, 6)).astype(np.float32)


def test_words_labels_and_matrices_are_read() -> None:
    vectors = numbers(3 + 4)
    found = read_classifier(fasttext_file(WORDS, LABELS, vectors, OUTPUT, buckets=4, grams=(2, 3)))
    assert found.labels == ("en", "de", "fr")
    assert json.loads(found.vocabulary) == {"words": WORDS, "shortest": 2, "longest": 3, "buckets": 4, "kept": None}
    np.testing.assert_array_equal(found.state["embedding.weight"].numpy(), vectors)
    np.testing.assert_array_equal(found.state["output.weight"].numpy(), OUTPUT)
    assert [*found.state] == ["embedding.weight", "output.weight"]


def test_ngrams_that_were_kept_have_rows_behind_the_words() -> None:
    content = fasttext_file(WORDS, LABELS, numbers(5), OUTPUT, buckets=2000, kept={1999: 1, 7: 0}, grams=(2, 4))
    assert json.loads(read_classifier(content).vocabulary)["kept"] == {"1999": 1, "7": 0}


def test_quantised_vectors_are_unpacked() -> None:
    parts = [RNG.standard_normal((256, 4)).astype(np.float32), RNG.standard_normal((256, 2)).astype(np.float32)]
    codes = np.array([[3, 255], [0, 7], [200, 1]], np.uint8)
    norms = np.array([2.0, 0.5, 3.0], np.float32)
    for given in (None, norms):
        found = read_classifier(fasttext_file(WORDS, LABELS, quantised(codes, parts, given), OUTPUT))
        expected = np.stack([np.concatenate([parts[0][a], parts[1][b]]) for a, b in codes])
        scale = 1.0 if given is None else given[:, None]
        np.testing.assert_allclose(found.state["embedding.weight"].numpy(), expected * scale, rtol=1e-6)


def test_way_to_each_class_of_a_tree_is_a_path_of_its_own() -> None:
    content = fasttext_file(WORDS, LABELS, numbers(3), OUTPUT, loss=HIERARCHICAL)
    state = read_classifier(content).state
    assert state["output.weight"].shape == (2, 6), "an inner node less than there are classes"
    # The two rarest classes are joined first (node 0), and then joined with the most frequent one (node 1).
    right, left = state["tree.right"].numpy(), state["tree.left"].numpy()
    assert (right + left).tolist() == [[0, 1], [1, 1], [1, 1]]
    assert right[1, 0] != right[2, 0]


@pytest.mark.parametrize("leaves", [2, 3, 17, 176])
def test_probabilities_of_all_leaves_add_up_to_one(leaves: int) -> None:
    right, left = word_paths(sorted(RNG.integers(1, 1000, leaves).tolist(), reverse=True))
    assert (right * left == 0).all()
    probability = 1 / (1 + np.exp(-RNG.standard_normal(leaves - 1)))
    logs = right @ np.log(probability) + left @ np.log(1 - probability)
    assert np.exp(logs).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": 2}, "vectors of words without classes"),
        ({"word_grams": 2}, "reads 2 words together"),
        ({"loss": 4}, "a loss other than softmax"),
        ({"width": 0}, "settings are out of bounds"),
        ({"buckets": 5}, r"the vectors have the shape \(3, 6\)"),
    ],
)
def test_settings_that_are_not_supported_are_named(changed: dict[str, int], message: str) -> None:
    content = fasttext_file(WORDS, LABELS, numbers(3), OUTPUT, **changed)
    with pytest.raises(ValueError, match=message):
        read_classifier(content)


def test_file_that_ends_early_is_refused_wherever_it_ends() -> None:
    content = fasttext_file(WORDS, LABELS, numbers(5), OUTPUT, buckets=9, kept={1: 0, 2: 1})
    for end in range(len(content)):
        with pytest.raises((ValueError, UnicodeDecodeError)):
            read_classifier(content[:end])


def test_file_that_claims_more_than_it_has_is_refused_at_once() -> None:
    content = fasttext_file(WORDS, LABELS, numbers(3), OUTPUT)
    for place in range(0, len(content) - 8, 3):
        damaged = content[:place] + b"\xff\xff\xff\x7f\xff\xff\xff\x7f" + content[place + 8 :]
        try:
            read_classifier(damaged)
        except (ValueError, UnicodeDecodeError):
            continue


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no file of fastText"):
        read_classifier(b"PK\x03\x04" + bytes(100))


def test_ngrams_with_gaps_are_refused() -> None:
    content = fasttext_file(WORDS, LABELS, numbers(5), OUTPUT, buckets=9, kept={1: 0, 2: 5})
    with pytest.raises(ValueError, match="not numbered one after another"):
        read_classifier(content)
