"""Logits and boxes become the objects that DETR's and RT-DETR's own code makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.cards.box_rule import BoxRule
from service.tasks.image.object_detection import candidates, corners_of

LOGITS = np.random.default_rng(0).normal(size=(7, 4)) * 3


def test_softmax_gives_each_query_its_best_class_but_never_that_of_no_object() -> None:
    import torch

    scores, classes, queries = candidates(LOGITS, BoxRule(scores="softmax"))
    expected, labels = torch.tensor(LOGITS).softmax(-1)[:, :-1].max(-1)
    np.testing.assert_allclose(scores, expected.numpy())
    np.testing.assert_array_equal(classes, labels.numpy())
    np.testing.assert_array_equal(queries, np.arange(7))


@pytest.mark.parametrize(("candidates_", "count"), [(None, 7), (3, 3), (100, 28)])
def test_sigmoid_takes_the_best_pairs_of_query_and_class(candidates_: int | None, count: int) -> None:
    scores, classes, queries = candidates(LOGITS, BoxRule(scores="sigmoid", candidates=candidates_))
    probabilities = 1 / (1 + np.exp(-LOGITS))
    assert len(scores) == count
    np.testing.assert_allclose(np.sort(scores), np.sort(probabilities.ravel())[-count:])
    np.testing.assert_allclose(scores, probabilities[queries, classes])


def test_sigmoid_of_a_very_small_logit_is_zero_without_a_warning() -> None:
    scores, _, _ = candidates(np.full((2, 2), -1e4), BoxRule(scores="sigmoid"))
    assert scores.max() == 0.0


def test_centre_and_size_become_corners() -> None:
    np.testing.assert_allclose(corners_of(np.array([[0.5, 0.4, 0.2, 0.4]])), [[0.4, 0.2, 0.6, 0.6]])
