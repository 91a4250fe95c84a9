"""The generated part of docs/benchmarks.md."""

from typing import Any

import pytest

from benchmarks.reports.page import render
from tests.support.benchmark_results import benchmark_results, row_of


@pytest.fixture
def results() -> dict[str, Any]:
    return benchmark_results()


def test_page_lists_failed_calls_and_failed_cases(results: dict[str, Any]) -> None:
    results["cases"]["cnn tensors"]["rounds"][0]["closed"]["servers"]["triton"]["32"]["errors"] = {"UNAVAILABLE": 7}
    results["cases"]["rnn raw"] = {"failed": "MLServer ended early\nTraceback"}

    text = render(results)

    assert "7 × UNAVAILABLE from Triton at 32 callers" in text
    assert "**rnn raw** failed: MLServer ended early" in text


def test_page_has_the_sections_that_were_measured_and_no_others(results: dict[str, Any]) -> None:
    text = render(results)

    assert "### Closed loop" in text
    assert "### Overload" in text
    assert "### Two models at once" not in text
    assert "a processor" in text
    assert row_of(text, "Zoo, as shipped", "100.0")[4] == "0.95"
    assert row_of(text, "unary, 8 callers")[4] == "0.90"
    assert row_of(text, "cnn tensors", "Zoo, as shipped")[-1] == "1.15"
    assert "smoke run" not in text


def test_page_names_missing_participants_with_the_reason(results: dict[str, Any]) -> None:
    text = render(results)

    assert "- MLServer in *cnn tensors*: MLServer ended:" in text
    assert "Traceback" not in text


def test_page_of_a_quick_run_warns_about_its_figures(results: dict[str, Any]) -> None:
    assert "smoke run" in render({**results, "quick": True})
