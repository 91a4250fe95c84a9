"""What a report says is what scikit-learn would say, and how sure it is."""

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


def drawn(n: int = 300, classes: int = 4, seed: int = 0) -> Predictions:
    """Logits that know something; the last label is never met and never said."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, n)
    logits = random.normal(size=(n, len(LABELS)))
    logits[np.arange(n), targets] += 1.5
    logits[:, classes:] = -20.0
    return Predictions(logits.astype(np.float32), targets, tuple(range(n)))


def test_classification_figures_are_those_of_scikit_learn() -> None:
    held_out = drawn()
    found = evaluate("image-classification", LABELS, held_out, held_out.targets, seed=1)
    said = held_out.outputs.argmax(axis=1)
    chances = torch.from_numpy(held_out.outputs).double().softmax(dim=1).numpy()
    figures = found.metric_values()
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(held_out.targets, said))
    assert figures["macro_f1"] == pytest.approx(metrics.f1_score(held_out.targets, said, average="macro"))
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(held_out.targets, chances, labels=range(5)))
    expected = multiclass_calibration_error(torch.from_numpy(chances), torch.from_numpy(held_out.targets), 5, n_bins=10)
    assert figures["ece"] == pytest.approx(float(expected), abs=1e-6)
    assert found.confusion is not None
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(held_out.targets, said, labels=range(5)))
    table = metrics.precision_recall_fscore_support(held_out.targets, said, labels=range(5), zero_division=0)
    for row, precision, recall, f1, support in zip(found.per_class, *table, strict=True):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision, recall, f1))
        assert row.support == support


def test_regression_figures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    y = random.normal(2000, 5, 80)
    f = y + random.normal(0, 1, 80)
    found = evaluate("tabular-regression", (), Predictions(f, y, tuple(range(80))), y, seed=0)
    figures = found.metric_values()
    assert figures["mae"] == pytest.approx(metrics.mean_absolute_error(y, f))
    assert figures["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, f))
    assert figures["r2"] == pytest.approx(metrics.r2_score(y, f))
    assert (found.primary, found.higher_is_better) == ("mae", False)
    assert found.baseline.metrics["r2"] == pytest.approx(0.0, abs=1e-9)
    assert found.baseline.metrics["mae"] > figures["mae"]


def test_a_target_that_never_changes_has_no_r2() -> None:
    found = evaluate("regression", (), Predictions(np.ones(5), np.ones(5), tuple(range(5))), np.ones(5), seed=0)
    assert "r2" not in found.metrics
    assert found.metric_values()["mae"] == 0.0


def test_a_forecast_is_measured_beside_the_seasonal_naive_one() -> None:
    steps = np.arange(120)
    series = np.stack([10 + np.sin(steps * np.pi / 6) * 3 + steps * 0.05, 100.0 + steps * 0.0], axis=1)
    contexts = np.stack([series[i : i + 24] for i in range(60)])
    targets = np.stack([series[i + 24 : i + 30] for i in range(60)])
    naive = baseline.seasonal_naive(contexts, 6, 12)
    held_out = Predictions(targets + 0.1, targets, tuple(range(60)))
    errors = baseline.naive_errors(series[:60, :1], 12)
    found = evaluate("time-series-forecasting", (), held_out, errors, seed=0, baseline_outputs=naive)
    figures = found.metric_values()
    assert figures["mae"] == pytest.approx(0.1)
    assert figures["mase"] == pytest.approx(0.1 / 0.6)
    assert found.baseline.kind == "seasonal naive"
    # The trend of 0.6 a season is what it does not see, in one channel of two.
    assert found.baseline.metrics["mae"] == pytest.approx(0.3)
    assert 0 < figures["smape"] < 200


def test_the_seasonal_naive_forecast_repeats_the_last_season() -> None:
    context = np.arange(8.0).reshape(1, 8, 1)
    assert baseline.seasonal_naive(context, 5, 3)[0, :, 0].tolist() == [5, 6, 7, 5, 6]
    assert baseline.seasonal_naive(context, 2, 1)[0, :, 0].tolist() == [7, 7]
    assert baseline.seasonal_naive(context, 2, 99)[0, :, 0].tolist() == [7, 7]


def test_a_language_model_is_measured_by_characters_not_by_windows() -> None:
    held_out = Predictions(np.array([1.0, 3.0]) * np.log(2), np.array([30, 10]), (0, 1))
    found = evaluate("text-generation", (), held_out, np.array([0, 0, 1, 1]), seed=0)
    assert found.metric_values()["bits_per_character"] == pytest.approx(1.5)
    assert found.metric_values()["perplexity"] == pytest.approx(2**1.5)
    assert found.baseline.metrics["bits_per_character"] == pytest.approx(1.0)
    untuned = evaluate("text-generation", (), held_out, np.zeros(4), seed=0, baseline_outputs=np.array([5.0, 5.0]))
    assert untuned.baseline.kind == "the base model, untuned"


def test_the_baseline_is_the_commonest_class_of_the_training_data() -> None:
    held_out = drawn()
    found = evaluate("text-classification", LABELS, held_out, np.array([2, 2, 2, 0]), seed=0)
    assert found.baseline.metrics["accuracy"] == pytest.approx(float((held_out.targets == 2).mean()))
    assert found.primary == "accuracy"


def test_where_nearly_all_are_of_one_class_guessing_it_does_not_count() -> None:
    targets = np.array([0] * 19 + [1])
    always = Predictions(np.tile([1.0, 0.0], (20, 1)), targets, tuple(range(20)))
    found = evaluate("tabular-classification", ("no", "yes"), always, targets, seed=0)
    assert found.primary == "macro_f1"
    assert found.metric_values()["macro_f1"] < 0.5


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Models that are right 80 % of the time, measured on 60 examples each."""
    random = np.random.default_rng(5)
    held = 0
    for trial in range(100):
        targets = np.zeros(60, np.int64)
        right = random.random(60) < 0.8
        logits = np.where(right[:, None], [1.0, 0.0], [0.0, 1.0])
        found = evaluate("image-classification", ("a", "b"), Predictions(logits, targets, ()), targets, seed=trial)
        accuracy = found.metrics["accuracy"]
        assert accuracy.low <= accuracy.value <= accuracy.high
        held += accuracy.low <= 0.8 <= accuracy.high
    assert 88 <= held <= 100


def test_the_same_seed_gives_the_same_intervals() -> None:
    held_out = drawn()
    first, second, other = (
        evaluate("image-classification", LABELS, held_out, held_out.targets, seed=seed).metrics for seed in (1, 1, 2)
    )
    assert first == second
    assert first["log_loss"] != other["log_loss"]


def test_a_rival_is_compared_example_by_example() -> None:
    ours = drawn()
    worse = Predictions(-ours.outputs, ours.targets, ours.indices)
    found = evaluate("image-classification", LABELS, ours, ours.targets, seed=0, incumbent=worse)
    assert found.incumbent is not None
    assert found.incumbent.difference.low > 0
    same = evaluate("image-classification", LABELS, ours, ours.targets, seed=0, incumbent=ours)
    assert same.incumbent is not None
    assert (same.incumbent.difference.low, same.incumbent.difference.high) == (0.0, 0.0)


def test_a_rival_on_other_examples_is_refused() -> None:
    ours = drawn()
    with pytest.raises(ValueError, match="same examples"):
        evaluate(
            "image-classification",
            LABELS,
            ours,
            ours.targets,
            seed=0,
            incumbent=Predictions(ours.outputs, ours.targets, (9,)),
        )


def test_all_right_on_a_few_examples_is_no_proof() -> None:
    targets = np.arange(20) % 2
    perfect = Predictions(np.eye(2)[targets], targets, tuple(range(20)))
    accuracy = evaluate("image-classification", ("a", "b"), perfect, targets, seed=0).metrics["accuracy"]
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.8389, abs=1e-4)  # as R's prop.test(20, 20, correct = FALSE) says


def test_a_single_held_out_example_is_measured_without_an_interval() -> None:
    one = Predictions(np.array([[2.0, 1.0]]), np.array([0]), (0,))
    found = evaluate("image-classification", ("a", "b"), one, np.array([0, 1]), seed=0)
    assert found.metrics["accuracy"].low == found.metrics["accuracy"].high == 1.0


# ── figures without a value ───────────────────────────────────────────────────────────────────────────────────────

NUMBERS = np.arange(40.0)


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("task", "held_out"),
    [
        ("image-classification", drawn(40)),
        ("tabular-regression", Predictions(NUMBERS + 0.5, NUMBERS, tuple(range(40)))),
        ("time-series-forecasting", Predictions(np.ones((40, 3, 2)), np.ones((40, 3, 2)), tuple(range(40)))),
        ("text-generation", Predictions(np.ones(40), np.full(40, 8.0), tuple(range(40)))),
    ],
)
def test_a_model_that_gives_no_finite_numbers_is_refused_in_a_sentence(
    task: str, held_out: Predictions, figure: float
) -> None:
    outputs = np.array(held_out.outputs, np.float64)
    outputs.reshape(40, -1)[[3, 7], 0] = figure
    wild = replace(held_out, outputs=outputs)
    labels = LABELS if task == "image-classification" else ()
    with pytest.raises(CannotTrain, match="the trained model gives no finite numbers for 2 of 40 held-out examples"):
        evaluate(task, labels, wild, held_out.targets, seed=1, baseline_outputs=held_out.outputs)
    found = evaluate(
        task, labels, held_out, np.asarray(held_out.targets), seed=1, baseline_outputs=held_out.outputs, incumbent=wild
    )
    assert found.incumbent is None
    assert found.not_compared == "it gives no finite numbers for 2 of the 40 held-out examples"


def test_a_metric_without_a_value_is_left_out_and_said() -> None:
    still = Predictions(np.full(20, 3.5), np.full(20, 3.0), tuple(range(20)))
    found = evaluate("tabular-regression", (), still, np.array([2.0, 4.0]), seed=1)
    assert found.without_value == ("r2",)
    assert "Without a value on these examples, and left out: R²." in comparison(found)


def test_numbers_as_large_as_may_enter_are_measured() -> None:
    targets = np.linspace(-1, 1, 50) * LARGEST_NUMBER
    found = evaluate("tabular-regression", (), Predictions(targets * 0.9, targets, tuple(range(50))), targets, seed=1)
    assert all(map(math.isfinite, found.metric_values().values()))
    assert found.without_value == ()
