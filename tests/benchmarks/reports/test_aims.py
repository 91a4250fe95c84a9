"""An aim is met, missed or not measured."""

from typing import Any

from benchmarks.reports.aims import CNN, Aim, aims


def by_name(report: dict[str, Any]) -> dict[str, Aim]:
    return {aim.name: aim for aim in aims(report)}


def closed(zoo: float, eager: float, triton: float, limit: float) -> dict[str, Any]:
    rates = {"zoo": zoo, "zoo-eager": eager, "triton": triton}
    servers = {
        name: {c: {"calls_s": rate, "p99_ms": 1000.0 / rate} for c in ("1", "32")} for name, rate in rates.items()
    }
    limits = {"eager": {"rows_s": limit}, "best": {"rows_s": 2 * limit, "peak_mib": 800.0}}
    return {"closed": {"servers": servers, "limits": limits}}


def test_aims_of_an_empty_run_are_neither_met_nor_missed() -> None:
    assert {aim.met for aim in aims({"cases": {}})} == {None}


def test_aims_use_ratios_within_rounds() -> None:
    rounds = [closed(300.0, 96.0, 80.0, 100.0), closed(150.0, 48.0, 40.0, 50.0)]
    report = {"cases": {CNN: {"rounds": rounds, "memory": {"zoo": {"peak_mib": 1000.0}}}}}

    found = by_name(report)

    assert found[f"{CNN}: eager ÷ in-process limit, 32 callers"].met
    assert found[f"{CNN}: eager ÷ Triton, the least over callers"].measured == 1.2
    assert found[f"{CNN}: eager p99 ÷ Triton's, the most over callers"].met
    assert found[f"{CNN}: as shipped ÷ Triton, 32 callers"].measured == 3.75
    assert found[f"{CNN}: peak memory as shipped ÷ script"].met is False  # 1.25 > 1.15


def test_null_call_aims_use_the_worst_unary_and_the_best_streamed_rate() -> None:
    zoo = {"unary, 1 callers": 900.0, "unary, 8 callers": 800.0, "1 × 64 streamed": 9000.0, "4 × 16 streamed": 11000.0}
    echo = dict.fromkeys(zoo, 1000.0)
    turn = {"zoo": {k: {"calls_s": v} for k, v in zoo.items()}, "echo": {k: {"calls_s": v} for k, v in echo.items()}}

    found = by_name({"cases": {}, "null": {"rounds": [turn]}})

    assert found["the call alone, unary ÷ bare echo, the least over callers"].measured == 0.8
    assert found["the call alone, streamed: calls a second, the best of the ways"].met
