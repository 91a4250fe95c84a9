"""Metrics of several classes for each example are those of scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from service.training.evaluation.baseline import class_shares
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Predictions
from service.training.evaluation.metrics import average_precision
from service.training.evaluation.mistakes import _worst_sets

LABELS = ("a", "b", "c", "d")
RANDOM = np.random.default_rng(5)
TRUTH = (RANDOM.random((60, 4)) < (0.5, 0.3, 0.1, 0.05)).astype(np.int64)
LOGITS = np.round(RANDOM.normal(size=(60, 4)) + 2.0 * TRUTH - 1.0, 1)  # rounded: some scores are equal


def predictions(logits: np.ndarray = LOGITS) -> Predictions:
    return Predictions(logits, TRUTH, tuple(range(len(TRUTH))))


def test_metrics_equal_those_of_scikit_learn() -> None:
    found = evaluate("text-classification", LABELS, predictions(), TRUTH, seed=0)
    named = LOGITS >= 0
    probability = 1 / (1 + np.exp(-LOGITS))
    expected = {
        "mean_average_precision": reference.average_precision_score(TRUTH, LOGITS, average="macro"),
        "micro_f1": reference.f1_score(TRUTH, named, average="micro"),
        "macro_f1": reference.f1_score(TRUTH, named, average="macro"),
        "subset_accuracy": reference.accuracy_score(TRUTH, named),
        "log_loss": np.mean([reference.log_loss(TRUTH[:, k], probability[:, k], labels=[0, 1]) for k in range(4)]),
    }
    assert found.metric_values() == pytest.approx(expected)
    assert (found.primary, found.higher_is_better, found.multi_label, found.confusion) == (
        "mean_average_precision",
        True,
        True,
        None,
    )
    for k, one in enumerate(found.per_class):
        assert one.average_precision == pytest.approx(reference.average_precision_score(TRUTH[:, k], LOGITS[:, k]))
        assert one.f1 == pytest.approx(reference.f1_score(TRUTH[:, k], named[:, k]))
    for value in found.metrics.values():
        assert value.low <= value.value <= value.high


def test_baseline_names_each_class_by_its_share() -> None:
    shares = class_shares(TRUTH, 2)
    assert (shares[0] == shares[1]).all()
    np.testing.assert_allclose(1 / (1 + np.exp(-shares[0])), (TRUTH.sum(axis=0) + 1) / (len(TRUTH) + 2))
    found = evaluate("text-classification", LABELS, predictions(), TRUTH, seed=0)
    assert found.baseline.kind == "each class by its share"
    # Scores that are equal for all examples have the share of a class as their average precision.
    assert found.baseline.metrics["mean_average_precision"] == pytest.approx(TRUTH.mean(axis=0).mean())


def test_average_precision_with_weights_equals_repeated_examples() -> None:
    weights = RANDOM.integers(0, 3, size=(1, 60))
    repeated = np.repeat(np.arange(60), weights[0])
    [value] = average_precision(LOGITS[:, 0], TRUTH[:, 0].astype(float), weights.astype(float))
    assert value == pytest.approx(reference.average_precision_score(TRUTH[repeated, 0], LOGITS[repeated, 0]))


def test_class_without_held_out_examples_has_no_average_precision_and_is_no_zero() -> None:
    truth = TRUTH.copy()
    truth[:, 3] = 0
    held_out = Predictions(LOGITS, truth, tuple(range(len(truth))))
    found = evaluate("text-classification", LABELS, held_out, TRUTH, seed=0)
    assert found.per_class[3].average_precision is None
    assert found.metric_values()["mean_average_precision"] == pytest.approx(
        reference.average_precision_score(truth[:, :3], LOGITS[:, :3], average="macro")
    )


def test_worst_mistake_is_the_surest_wrong_decision() -> None:
    logits = np.full((3, 4), -2.0)
    logits[1, 2], logits[2, 0] = 5.0, 3.0
    truth = np.zeros((3, 4), np.int64)
    truth[2, 1] = 1
    worst, shown = _worst_sets(LABELS, Predictions(logits, truth, (0, 1, 2)), 5)
    assert worst == [1, 2]
    assert [row[:2] for row in shown] == [("no class", "c"), ("b", "a")]
    assert shown[0][2] == pytest.approx(1 / (1 + np.exp(-5.0)))
