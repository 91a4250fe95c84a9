"""The table of a run on a GPU."""

from typing import Any

from benchmarks.gpu.table import render
from tests.support.benchmark_results import load_figures, row_of

MACHINE = {"python": "3.12", "cores": 16, "gpu": "a GPU", "torch": "2.11"}


def report(**parts: Any) -> dict[str, Any]:
    return {"machine": MACHINE, "missing": {}, "smallest": False, "checks": {}, "loads": {}, **parts}


def test_missing_packages_are_named_with_the_part_that_did_not_run() -> None:
    text = render(report(missing={"loads": ["grpcio", "structlog"]}))
    assert "**The loads did not run.** Missing packages: grpcio, structlog." in text
    assert "pip install grpcio structlog" in text


def test_checks_are_passed_failed_or_not_run() -> None:
    checks = {
        "staging": {"skipped": "it needs a GPU"},
        "ledger": {"passed": True, "took_s": 1.0},
        "tiers": {"passed": False, "problem": "CheckFailed: cnn, graphs bf16: the cosine is low", "took_s": 2.0},
    }
    text = render(report(checks=checks))
    assert row_of(text, "staging")[1] == "not run: it needs a GPU"
    assert row_of(text, "ledger")[1] == "passed"
    assert "graphs bf16" in row_of(text, "tiers")[1]


def test_loads_have_their_figures_or_the_reason() -> None:
    server = {"single_ms": 2.0, "bound_ms": 10.0, "offline_s": 4000.0, "server_s": 3000.0, "ratio": 0.75}
    measured = {
        "closed": {"512": load_figures(4000.0, 130.0)},
        "photos": {"64": load_figures(900.0, 70.0)},
        "server": server,
    }
    text = render(report(loads={"fp32": measured, "bf16": {"failed": "ParticipantFailed: it ended"}}))
    assert row_of(text, "tensors", "512")[2] == "4 000.0"
    assert row_of(text, "photos", "64")[2] == "900.0"
    assert row_of(text, "2.0")[-1] == "0.75"
    assert "Loads in bf16: ParticipantFailed: it ended" in text
