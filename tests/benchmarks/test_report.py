"""Tables say what the JSON holds, and go where the page wants them."""

from typing import Any

import pytest

from benchmarks import report


def load(rate: float, p99: float) -> dict[str, float]:
    return {
        "calls_s": rate,
        "p50_ms": p99 / 2,
        "p99_ms": p99,
        "batch_rows": 4.0,
        "server_cores": 1.8,
        "client_cores": 0.1,
    }


def a_round(pace: float) -> dict[str, Any]:
    servers = {"triton": {"32": load(50 * pace, 600)}, "zoo": {"32": load(150 * pace, 300)}}
    limits = {
        "eager": {"rows_s": 100 * pace, "peak_mib": 1000.0},
        "best": {"rows_s": 200 * pace, "peak_mib": 800.0},
    }
    overload = {"zoo": {"capacity_s": 100.0, "offered_s": 200.0, "good_s": 95.0, "goodput": 0.95, "client_cores": 0.2}}
    return {"closed": {"limits": limits, "servers": servers}, "overload": overload}


@pytest.fixture
def results() -> dict[str, Any]:
    sweep = {"rows": 8, "lanes": 2}
    case = {
        "scenarios": ["closed", "overload"],
        "rounds": [a_round(1.0), a_round(0.5), a_round(2.0)],
        "sweeps": {"eager": sweep, "best": sweep},
        "absent": {"mlserver": "MLServer ended:\nTraceback …"},
        "tiers": {"cnn": {"tier": "compiled", "tier_candidate": "compiled fp32", "tier_speedup": "1.71"}},
        "memory": {"zoo": {"peak_mib": 920.0, "pss_mib": 900.0}},
    }
    machine = {"taken": "2026-01-02", "cores": 2, "processor": "a processor", "python": "3.11", "torch": "2.14"}
    kinds = {"unary, 8 callers": {"calls_s": 900.0}}
    null = {"absent": {}, "rounds": [{"zoo": kinds, "echo": {"unary, 8 callers": {"calls_s": 1000.0}}}]}
    return {"machine": machine, "rounds": 3, "seconds": 6.0, "cases": {"cnn tensors": case}, "null": null}


def row_of(text: str, *starts: str) -> list[str]:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return next(row for row in found if row[: len(starts)] == list(starts))


def test_ratios_of_a_server_stand_beside_its_rate(results: dict[str, Any]) -> None:
    row = row_of(report.closed(results["cases"]["cnn tensors"]), "Zoo, as shipped", "32")

    # calls/s; ÷ eager limit; ÷ compiled limit; ÷ Triton; p50; p99; p99 ÷ Triton's
    assert row[2:9] == ["150.0", "1.50", "0.75", "3.00", "150", "300", "0.50"]
    assert row[-1] == "150 %"  # the rounds were that far apart


def test_calls_that_failed_are_told_and_so_is_a_case_that_did(results: dict[str, Any]) -> None:
    results["cases"]["cnn tensors"]["rounds"][0]["closed"]["servers"]["triton"]["32"]["errors"] = {"UNAVAILABLE": 7}
    results["cases"]["rnn raw"] = {"failed": "MLServer ended early\nTraceback"}

    text = report.render(results)

    assert "7 × UNAVAILABLE from Triton at 32 callers" in text
    assert "**rnn raw** failed: MLServer ended early" in text


def test_a_page_has_every_section_that_was_measured_and_no_other(results: dict[str, Any]) -> None:
    text = report.render(results)

    assert "### Closed loop" in text
    assert "### Overload" in text
    assert "### Two models at once" not in text
    assert "a processor" in text
    assert row_of(text, "Zoo, as shipped", "100.0")[4] == "0.95"
    assert row_of(text, "unary, 8 callers")[4] == "0.90"
    assert row_of(text, "cnn tensors", "Zoo, as shipped")[-1] == "1.15"
    assert "smoke run" not in text


def test_who_did_not_take_part_is_named_with_the_reason(results: dict[str, Any]) -> None:
    text = report.render(results)

    assert "- MLServer in *cnn tensors*: MLServer ended:" in text
    assert "Traceback" not in text


def test_a_quick_run_says_that_its_figures_mean_nothing(results: dict[str, Any]) -> None:
    assert "smoke run" in report.render({**results, "quick": True})


def test_what_was_not_measured_is_a_dash() -> None:
    assert report.number(None) == "–"
    assert report.number(float("nan")) == "–"
    assert report.number(12345.6, 0) == "12 346"


def test_tables_replace_what_is_between_the_markers_and_nothing_else() -> None:
    page = f"# Title\n\nwords\n\n{report.BEGIN}\nold\n{report.END}\n\nmore words\n"

    once = report.put(page, "new")

    assert once.startswith("# Title\n\nwords\n\n")
    assert once.endswith("\n\nmore words\n")
    assert "old" not in once
    assert report.put(once, "new") == once


def test_a_page_without_markers_is_an_error_not_an_overwrite() -> None:
    with pytest.raises(ValueError, match="benchmarks:begin"):
        report.put("# Title\n", "new")
