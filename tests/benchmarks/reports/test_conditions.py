"""The tables of the starts and of the sentinel."""

from typing import Any

from benchmarks.reports import conditions
from tests.support.benchmark_results import row_of


def test_sentinel_table_counts_what_was_discarded() -> None:
    guarded = {
        "guarded": True,
        "limit": 0.05,
        "measured": 40,
        "discarded": 3,
        "unsteady": 1,
        "slowest_to_fastest": {"one": 0.97, "all": 0.9},
    }
    report: dict[str, Any] = {"cases": {"cnn tensors": {"sentinel": guarded}, "old": {}}, "null": {}}

    row = row_of(conditions.sentinel(report), "cnn tensors")

    assert row[1:] == ["40", "3", "1", "0.97", "0.90"]
    assert conditions.discarded(report) == (
        "The sentinel discarded 3 measurements, because the machine changed during them by more than 5 %. "
        "Of the 40 that were kept, 1 were unsteady at every try."
    )


def test_unguarded_run_has_no_sentinel_table() -> None:
    report: dict[str, Any] = {"cases": {"cnn": {"sentinel": {"guarded": False, "measured": 4}}}}
    assert conditions.sentinel(report) == conditions.discarded(report) == ""


def test_starts_table_has_a_dash_where_no_tier_was_faster() -> None:
    text = conditions.starts({"models": {"cnn": {"first": {"fast_s": 8.25}, "next": {"fast_s": None}}}})
    assert row_of(text, "cnn")[1:] == ["8.2", "–"]
