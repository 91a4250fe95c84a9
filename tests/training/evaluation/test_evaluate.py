"""Metrics equal those of scikit-learn, and their intervals have the nominal coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_calibration_error

from service.datasets.readers.columns.cells import LARGEST_NUMBER
from service.training.artifacts.html_report import comparison
from service.training.evaluation import baseline
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Predictions
from service.training.failures import CannotTrain

LABELS = ("ant", "bee", "cat", "dog", "emu")


def random_predictions(n: int = 300, classes: int = 4, seed: int = 0) -> Predictions:
    """Logits that are right more often than chance; the last label never occurs and is never predicted."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, n)
    logits = random.normal(size=(n, len(LABELS)))
    logits[np.arange(n), targets] += 1.5
    logits[:, classes:] = -20.0
    return Predictions(logits.astype(np.float32), targets, tuple(range(n)))


def test_classification_metrics_equal_scikit_learn() -> None:
    held_out = random_predictions()
    evaluation = evaluate("image-classification", LABELS, held_out, held_out.targets, seed=1)
    predicted = held_out.outputs.argmax(axis=1)
    chances = torch.from_numpy(held_out.outputs).double().softmax(dim=1).numpy()
    values = evaluation.metric_values()
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(held_out.targets, predicted))
    assert values["macro_f1"] == pytest.approx(metrics.f1_score(held_out.targets, predicted, average="macro"))
    assert values["log_loss"] == pytest.approx(metrics.log_loss(held_out.targets, chances, labels=range(5)))
    expected = multiclass_calibration_error(torch.from_numpy(chances), torch.from_numpy(held_out.targets), 5, n_bins=10)
    assert values["ece"] == pytest.approx(float(expected), abs=1e-6)
    assert evaluation.confusion is not None
    np.testing.assert_array_equal(
        evaluation.confusion, metrics.confusion_matrix(held_out.targets, predicted, labels=range(5))
    )
    table = metrics.precision_recall_fscore_support(held_out.targets, predicted, labels=range(5), zero_division=0)
    for row, precision, recall, f1, support in zip(evaluation.per_class, *table, strict=True):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision, recall, f1))
        assert row.support == support


def test_regression_metrics_equal_scikit_learn() -> None:
    random = np.random.default_rng(0)
    y = random.normal(2000, 5, 80)
    f = y + random.normal(0, 1, 80)
    evaluation = evaluate("tabular-regression", (), Predictions(f, y, tuple(range(80))), y, seed=0)
    values = evaluation.metric_values()
    assert values["mae"] == pytest.approx(metrics.mean_absolute_error(y, f))
    assert values["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, f))
    assert values["r2"] == pytest.approx(metrics.r2_score(y, f))
    assert (evaluation.primary, evaluation.higher_is_better) == ("mae", False)
    assert evaluation.baseline.metrics["r2"] == pytest.approx(0.0, abs=1e-9)
    assert evaluation.baseline.metrics["mae"] > values["mae"]


def test_r2_of_constant_target_is_left_out() -> None:
    evaluation = evaluate("regression", (), Predictions(np.ones(5), np.ones(5), tuple(range(5))), np.ones(5), seed=0)
    assert "r2" not in evaluation.metrics
    assert evaluation.metric_values()["mae"] == 0.0


def test_forecast_is_compared_with_seasonal_naive_baseline() -> None:
    steps = np.arange(120)
    series = np.stack([10 + np.sin(steps * np.pi / 6) * 3 + steps * 0.05, 100.0 + steps * 0.0], axis=1)
    contexts = np.stack([series[i : i + 24] for i in range(60)])
    targets = np.stack([series[i + 24 : i + 30] for i in range(60)])
    naive = baseline.seasonal_naive(contexts, 6, 12)
    held_out = Predictions(targets + 0.1, targets, tuple(range(60)))
    errors = baseline.naive_errors(series[:60, :1], 12)
    evaluation = evaluate("time-series-forecasting", (), held_out, errors, seed=0, baseline_outputs=naive)
    values = evaluation.metric_values()
    assert values["mae"] == pytest.approx(0.1)
    assert values["mase"] == pytest.approx(0.1 / 0.6)
    assert evaluation.baseline.kind == "seasonal naive"
    # The seasonal naive forecast misses the trend of 0.6 a season, in one of two channels.
    assert evaluation.baseline.metrics["mae"] == pytest.approx(0.3)
    assert 0 < values["smape"] < 200


def test_language_model_metrics_weight_windows_by_characters() -> None:
    held_out = Predictions(np.array([1.0, 3.0]) * np.log(2), np.array([30, 10]), (0, 1))
    evaluation = evaluate("text-generation", (), held_out, np.array([0, 0, 1, 1]), seed=0)
    assert evaluation.metric_values()["bits_per_character"] == pytest.approx(1.5)
    assert evaluation.metric_values()["perplexity"] == pytest.approx(2**1.5)
    assert evaluation.baseline.metrics["bits_per_character"] == pytest.approx(1.0)
    untuned = evaluate("text-generation", (), held_out, np.zeros(4), seed=0, baseline_outputs=np.array([5.0, 5.0]))
    assert untuned.baseline.kind == "the base model, untuned"


def test_classification_baseline_is_commonest_training_class() -> None:
    held_out = random_predictions()
    evaluation = evaluate("text-classification", LABELS, held_out, np.array([2, 2, 2, 0]), seed=0)
    assert evaluation.baseline.metrics["accuracy"] == pytest.approx(float((held_out.targets == 2).mean()))
    assert evaluation.primary == "accuracy"


def test_primary_metric_with_one_dominant_class_is_macro_f1() -> None:
    targets = np.array([0] * 19 + [1])
    always = Predictions(np.tile([1.0, 0.0], (20, 1)), targets, tuple(range(20)))
    evaluation = evaluate("tabular-classification", ("no", "yes"), always, targets, seed=0)
    assert evaluation.primary == "macro_f1"
    assert evaluation.metric_values()["macro_f1"] < 0.5


def test_accuracy_interval_has_its_nominal_coverage() -> None:
    """Models that are right 80 % of the time, measured on 60 examples each."""
    random = np.random.default_rng(5)
    held = 0
    for trial in range(100):
        targets = np.zeros(60, np.int64)
        right = random.random(60) < 0.8
        logits = np.where(right[:, None], [1.0, 0.0], [0.0, 1.0])
        evaluation = evaluate("image-classification", ("a", "b"), Predictions(logits, targets, ()), targets, seed=trial)
        accuracy = evaluation.metrics["accuracy"]
        assert accuracy.low <= accuracy.value <= accuracy.high
        held += accuracy.low <= 0.8 <= accuracy.high
    assert 88 <= held <= 100


def test_intervals_with_same_seed_are_equal() -> None:
    held_out = random_predictions()
    first, second, other = (
        evaluate("image-classification", LABELS, held_out, held_out.targets, seed=seed).metrics for seed in (1, 1, 2)
    )
    assert first == second
    assert first["log_loss"] != other["log_loss"]


def test_incumbent_comparison_is_paired_by_example() -> None:
    ours = random_predictions()
    worse = Predictions(-ours.outputs, ours.targets, ours.indices)
    evaluation = evaluate("image-classification", LABELS, ours, ours.targets, seed=0, incumbent=worse)
    assert evaluation.incumbent is not None
    assert evaluation.incumbent.difference.low > 0
    same = evaluate("image-classification", LABELS, ours, ours.targets, seed=0, incumbent=ours)
    assert same.incumbent is not None
    assert (same.incumbent.difference.low, same.incumbent.difference.high) == (0.0, 0.0)


def test_incumbent_on_other_examples_is_rejected() -> None:
    ours = random_predictions()
    with pytest.raises(ValueError, match="same examples"):
        evaluate(
            "image-classification",
            LABELS,
            ours,
            ours.targets,
            seed=0,
            incumbent=Predictions(ours.outputs, ours.targets, (9,)),
        )


def test_interval_of_perfect_accuracy_on_few_examples_is_wide() -> None:
    targets = np.arange(20) % 2
    perfect = Predictions(np.eye(2)[targets], targets, tuple(range(20)))
    accuracy = evaluate("image-classification", ("a", "b"), perfect, targets, seed=0).metrics["accuracy"]
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.8389, abs=1e-4)  # as R's prop.test(20, 20, correct = FALSE) says


def test_single_example_has_no_interval() -> None:
    one = Predictions(np.array([[2.0, 1.0]]), np.array([0]), (0,))
    evaluation = evaluate("image-classification", ("a", "b"), one, np.array([0, 1]), seed=0)
    assert evaluation.metrics["accuracy"].low == evaluation.metrics["accuracy"].high == 1.0


NUMBERS = np.arange(40.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("task", "held_out"),
    [
        ("image-classification", random_predictions(40)),
        ("tabular-regression", Predictions(NUMBERS + 0.5, NUMBERS, tuple(range(40)))),
        ("time-series-forecasting", Predictions(np.ones((40, 3, 2)), np.ones((40, 3, 2)), tuple(range(40)))),
        ("text-generation", Predictions(np.ones(40), np.full(40, 8.0), tuple(range(40)))),
    ],
)
def test_outputs_that_are_not_finite_are_rejected(task: str, held_out: Predictions, value: float) -> None:
    outputs = np.array(held_out.outputs, np.float64)
    outputs.reshape(40, -1)[[3, 7], 0] = value
    wild = replace(held_out, outputs=outputs)
    labels = LABELS if task == "image-classification" else ()
    with pytest.raises(CannotTrain, match="the trained model gives no finite numbers for 2 of 40 held-out examples"):
        evaluate(task, labels, wild, held_out.targets, seed=1, baseline_outputs=held_out.outputs)
    evaluation = evaluate(
        task, labels, held_out, np.asarray(held_out.targets), seed=1, baseline_outputs=held_out.outputs, incumbent=wild
    )
    assert evaluation.incumbent is None
    assert evaluation.not_compared == "it gives no finite numbers for 2 of the 40 held-out examples"


def test_undefined_metric_is_left_out_and_named() -> None:
    still = Predictions(np.full(20, 3.5), np.full(20, 3.0), tuple(range(20)))
    evaluation = evaluate("tabular-regression", (), still, np.array([2.0, 4.0]), seed=1)
    assert evaluation.without_value == ("r2",)
    assert "Without a value on these examples, and left out: R²." in comparison(evaluation)


def test_metrics_of_largest_allowed_numbers_are_finite() -> None:
    targets = np.linspace(-1, 1, 50) * LARGEST_NUMBER
    evaluation = evaluate(
        "tabular-regression", (), Predictions(targets * 0.9, targets, tuple(range(50))), targets, seed=1
    )
    assert all(map(math.isfinite, evaluation.metric_values().values()))
    assert evaluation.without_value == ()
