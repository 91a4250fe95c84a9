"""Spans count as found by seqeval's strict definition: the boundaries and the label must be right."""

import warnings

import numpy as np
import pytest

from service.datasets.dataset import TextSpan
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Predictions
from service.training.evaluation.metrics import spans
from service.training.evaluation.span_counts import count_spans

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TRUE = [[TextSpan(0, 4, 1), TextSpan(10, 18, 0)], [TextSpan(3, 9, 1)], [], [TextSpan(0, 2, 0)]]
FOUND = [[TextSpan(0, 4, 1), TextSpan(10, 14, 0)], [TextSpan(3, 9, 0)], [TextSpan(1, 2, 1)], [TextSpan(0, 2, 0)]]


def test_counts_are_strict() -> None:
    outputs, targets = count_spans(FOUND, TRUE, 2)
    assert outputs[..., 0].tolist() == [[0, 1], [0, 0], [0, 0], [1, 0]]
    assert outputs[..., 1].tolist() == [[1, 1], [1, 0], [0, 1], [1, 0]]
    assert targets.tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]


def test_metrics_are_those_of_all_spans_together() -> None:
    outputs, targets = count_spans(FOUND, TRUE, 2)
    nothing = np.zeros_like(outputs)
    held_out = Predictions(outputs, targets, (0, 1, 2, 3))
    found = evaluate("token-classification", TAGS, held_out, np.zeros(0), seed=0, baseline_outputs=nothing)
    # 2 found of 5 that are marked and 4 that are true
    expected = {"precision": 2 / 5, "recall": 2 / 4, "f1": 2 * 2 / 9, "macro_f1": (2 * 1 / 5 + 2 * 1 / 4) / 2}
    assert found.metric_values() == pytest.approx(expected)
    assert found.baseline.metrics == pytest.approx({"recall": 0.0, "f1": 0.0, "macro_f1": 0.0})
    assert [(one.label, one.precision, one.recall, one.support) for one in found.per_class] == [
        ("LOC", 1 / 3, 1 / 2, 2),
        ("PER", 1 / 2, 1 / 2, 2),
    ]
    assert found.metrics["f1"].low <= found.metrics["f1"].value <= found.metrics["f1"].high


def test_span_that_is_marked_twice_is_found_once_for_each_true_one() -> None:
    outputs, _ = count_spans([[TextSpan(0, 4, 1)]], [[TextSpan(0, 4, 1)]], 2)
    assert outputs[0, 1].tolist() == [1, 1]


def test_resample_without_any_span_has_no_macro_f1_and_warns_of_nothing() -> None:
    counts, true = np.zeros((2, 1, 2)), np.array([[1], [0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = spans(counts, true)["macro_f1"](np.array([[0.0, 2.0], [1.0, 1.0]]))
    assert np.isnan(found[0])
    assert found[1] == 0.0
