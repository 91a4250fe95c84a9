"""Ratios are taken within a round, so that a noisy round does not distort a comparison."""

import json

import pytest

from benchmarks.reports.statistics import best, merged, middle, ratio, spread, storable


def test_ratio_is_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    # The machine is half as fast in the second round and twice as fast in the third; the ratio is 2 in all rounds.
    rounds = [{"ours": {"s": 20.0}, "theirs": {"s": 10.0}}, {"ours": {"s": 10.0}, "theirs": {"s": 5.0}}]
    rounds.append({"ours": {"s": 40.0}, "theirs": {"s": 20.0}})
    rounds.append({"ours": {"s": 1.0}})  # the other participant is absent: the round does not count

    assert ratio(rounds, ("ours", "s"), ("theirs", "s")) == pytest.approx(2.0)
    assert middle(rounds[:3], "ours", "s") == 20.0
    assert spread(rounds[:3], "ours", "s") == pytest.approx(1.5)


def test_missing_figure_is_none_not_zero() -> None:
    assert middle([{"a": {}}], "a", "b") is None
    assert ratio([{"a": 1.0, "b": 0.0}], ("a",), ("b",)) is None
    assert spread([{"a": 1.0}], "a") is None
    assert best([{"a": 1.0}], ["x"], lambda name: (name,)) is None


def test_best_is_the_name_with_the_largest_median() -> None:
    rounds = [{"a": 1.0, "b": 2.0}, {"a": 9.0, "b": 2.0}, {"a": 1.0, "b": 2.0}]

    assert best(rounds, ["a", "b"], lambda name: (name,)) == "b"


def test_storable_report_is_valid_json_without_answers() -> None:
    stored = storable({"p99_ms": float("inf"), "rounds": [{1: float("nan"), "calls_s": 2.0}], "name": "zoo", "n": 3})

    assert json.loads(json.dumps(stored, allow_nan=False)) == {
        "p99_ms": None,
        "rounds": [{"1": None, "calls_s": 2.0}],
        "name": "zoo",
        "n": 3,
    }
    assert middle([stored], "p99_ms") is None


def test_merged_keeps_scenarios_that_were_not_measured_again() -> None:
    before = {"scenarios": ["closed", "server"], "rounds": [{"closed": 1, "server": 1}], "sweeps": {"eager": 8}}
    now = {"scenarios": ["server"], "rounds": [{"server": 2}, {"server": 3}], "sweeps": {}}

    assert merged(before, now) == {
        "scenarios": ["closed", "server"],
        "rounds": [{"closed": 1, "server": 2}, {"server": 3}],
        "sweeps": {"eager": 8},
    }
    assert merged({}, now) == now


def test_merged_keeps_the_larger_peak_memory() -> None:
    before = {"memory": {"zoo": {"peak_mib": 9.0, "pss_mib": 3.0}, "triton": {"peak_mib": 5.0, "pss_mib": 4.0}}}
    now = {"memory": {"zoo": {"peak_mib": 7.0, "pss_mib": 4.0}, "triton": {"peak_mib": 6.0, "pss_mib": 2.0}}}
    assert merged(before, now)["memory"] == {
        "zoo": {"peak_mib": 9.0, "pss_mib": 3.0},
        "triton": {"peak_mib": 6.0, "pss_mib": 2.0},
    }


def test_merged_removes_measured_servers_from_absent() -> None:
    before = {"absent": {"triton": "it ended", "litserve": "not installed"}, "settings": {"zoo": {}}}
    now = {"absent": {}, "settings": {"triton": {"instances": 2}}}
    assert merged(before, now)["absent"] == {"litserve": "not installed"}
