"""The gate promotes a version that is better than the baseline and not worse than the stable version."""

from typing import Any

import pytest

from service.registry.rollout.promotion_rule import decide
from tests.support.registry.tuned_versions import report


def test_first_version_better_than_the_baseline_is_promoted() -> None:
    decision = decide(report(0.91, 0.5), None)
    assert decision.promote
    assert decision.sentence == "accuracy 0.91 is better than the baseline's 0.5 (always the commonest class)"


@pytest.mark.parametrize("value", [0.5, 0.4])
def test_version_not_better_than_the_baseline_is_not_promoted(value: float) -> None:
    decision = decide(report(value, 0.5), None)
    assert not decision.promote
    assert decision.sentence == (
        f"accuracy {value:.4g} is not better than the baseline's 0.5 (always the commonest class)"
    )


def test_tie_with_a_baseline_without_any_error_makes_the_first_version_stable() -> None:
    decision = decide(report(1.0, 1.0), None)
    assert decision.promote
    assert decision.sentence == (
        "accuracy 1 equals the baseline's 1 (always the commonest class), and no version could be better"
    )
    errors = {"primary": "mae", "higher_is_better": False, "metrics": {"mae": 0.0}, "baseline": {"mae": 0.0}}
    assert decide(errors, None).promote
    assert not decide({**errors, "metrics": {"mae": 1.0}, "baseline": {"mae": 1.0}}, None).promote
    assert not decide(report(0.99, 1.0), None).promote
    assert not decide(report(1.0, 1.0, rival=(3, 1.0)), 3).promote, "a stable version is replaced by a better one only"


@pytest.mark.parametrize(
    ("value", "promoted"), [(0.95, True), (0.9, True), (0.896, True), (0.894, False), (0.6, False)]
)
def test_version_worse_than_stable_within_the_tolerance_is_promoted(value: float, promoted: bool) -> None:
    decision = decide(report(value, 0.5, rival=(3, 0.9)), 3)
    assert decision.promote is promoted
    assert "version 3" in decision.sentence


def test_version_with_a_smaller_error_is_promoted() -> None:
    said: dict[str, Any] = {
        "primary": "mae",
        "higher_is_better": False,
        "metrics": {"mae": {"value": 2.0, "low": 1.0, "high": 3.0}},
        "baseline": {"mae": {"value": 5.0}, "kind": "always the mean"},
        "rival": {"version": 1, "metrics": {"mae": {"value": 1.99}}},
    }
    assert decide(said, 1).promote
    said["rival"]["metrics"]["mae"] = 1.9
    assert not decide(said, 1).promote
    said["baseline"]["mae"] = 1.5
    assert not decide(said, None).promote


def test_version_compared_with_another_stable_is_not_promoted() -> None:
    for rival in (None, (2, 0.5)):
        decision = decide(report(0.99, 0.5, rival), 3)
        assert not decision.promote
        assert "not compared with version 3, which is stable now; promote it by hand" in decision.sentence


def test_version_that_was_not_compared_states_the_reason() -> None:
    said = {**report(0.99, 0.5), "not_compared": "it knows other classes"}
    assert "version 3, which is stable now (it knows other classes); promote it by hand" in decide(said, 3).sentence


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), None, "0.9", True])
def test_report_with_a_missing_figure_is_not_promoted(wrong: object) -> None:
    for path in ("metrics", "baseline"):
        said = report()
        said[path]["accuracy"] = wrong
        assert not decide(said, None).promote
    said = report(rival=(1, 0.5))
    said["rival"]["metrics"]["accuracy"] = wrong
    assert not decide(said, 1).promote


@pytest.mark.parametrize(
    "said", [{}, {"primary": 3}, {"primary": "a", "metrics": []}, {"primary": "a", "metrics": {"a": 1}}]
)
def test_unreadable_report_is_not_promoted(said: dict[str, Any]) -> None:
    assert not decide(said, None).promote


def errors(value: float, baseline: float, rival: float | None = None) -> dict[str, Any]:
    return {
        "primary": "mae",
        "higher_is_better": False,
        "metrics": {"mae": {"value": value}},
        "baseline": {"mae": baseline, "kind": "always the mean"},
        "rival": None if rival is None else {"version": 1, "metrics": {"mae": rival}},
    }


def test_promotion_sentence_shows_digits_that_differ() -> None:
    assert decide(errors(105.612, 105.618), None).sentence == (
        "mae 105.61 is better than the baseline's 105.62 (always the mean)"
    )
    assert decide(errors(105.618, 105.612), None).sentence == (
        "mae 105.62 is not better than the baseline's 105.61 (always the mean)"
    )
    assert decide(errors(105.6121, 300.0, rival=105.6118), 1).sentence == (
        "mae 105.6121 is better than the baseline's 300 (always the mean) and not worse than the 105.6118 of version 1, "
        "which was stable"
    )


@pytest.mark.parametrize("value", [105.6, 105.6 * (1 - 1e-12), float("nan")])
def test_version_equal_to_the_baseline_after_rounding_is_not_promoted(value: float) -> None:
    decision = decide(errors(value, 105.6), None)
    assert not decision.promote
    assert "is better" not in decision.sentence
