"""An aim is met, missed or not measured."""

from typing import Any

from benchmarks.reports.aims import CNN, PHOTOS, SPEECH, TEXT, TRANSFORMER, Aim, aims


def by_name(report: dict[str, Any]) -> dict[str, Aim]:
    return {aim.name: aim for aim in aims(report)}


def closed(zoo: float, eager: float, triton: float, limit: float) -> dict[str, Any]:
    rates = {"zoo": zoo, "zoo-eager": eager, "triton": triton, "triton-openvino": zoo / 1.25, "zoo-openvino": zoo}
    servers = {
        name: {c: {"calls_s": rate, "p99_ms": 1000.0 / rate} for c in ("8", "32", "64")} for name, rate in rates.items()
    }
    limits = {"eager": {"rows_s": 2 * limit}, "best": {"rows_s": 2 * limit, "peak_mib": 800.0}}
    return {"closed": {"servers": servers, "limits": limits, "reached": {"zoo-eager": {"rows": 8, "rows_s": limit}}}}


def test_aims_of_an_empty_run_are_neither_met_nor_missed() -> None:
    assert {aim.met for aim in aims({"cases": {}})} == {None}
    assert len(list(aims({"cases": {}}))) == 24


def test_aims_use_ratios_within_rounds() -> None:
    rounds = [closed(300.0, 96.0, 60.0, 100.0), closed(150.0, 48.0, 30.0, 50.0)]
    report = {"cases": {CNN: {"rounds": rounds, "memory": {"zoo": {"peak_mib": 1001.0}}}}}

    found = by_name(report)

    assert found[f"{CNN}: eager ÷ in-process limit at the batch size reached, 32 callers"].measured == 0.96
    assert found[f"{CNN}: as shipped ÷ Triton (eager fp32), 32 callers"].measured == 5.0
    alike = f"{CNN}: the same OpenVINO network in Zoo ÷ in Triton, the least of 8 to 64 callers"
    assert found[alike].measured == 1.25
    assert found[f"{CNN}: peak memory as shipped ÷ script"].met is False  # 1.251 > 1.25


def test_least_over_callers_is_not_measured_while_one_is_missing() -> None:
    figures = closed(300.0, 96.0, 60.0, 100.0)
    del figures["closed"]["servers"]["triton-openvino"]["64"]

    found = by_name({"cases": {CNN: {"rounds": [figures]}}})

    alike = f"{CNN}: the same OpenVINO network in Zoo ÷ in Triton, the least of 8 to 64 callers"
    assert found[alike].measured is None


def test_aims_of_the_identity_model_use_rate_and_processor_time() -> None:
    zoo = {
        "unary, 32 callers": {"calls_s": 900.0, "server_us": 280.0},
        "unary, 64 callers": {"calls_s": 1100.0, "server_us": 310.0},
        "1 × 64 streamed": {"calls_s": 9000.0},
        "4 × 16 streamed": {"calls_s": 11000.0},
    }
    echo = {kind: {"calls_s": 1000.0} for kind in zoo}

    found = by_name({"cases": {}, "null": {"rounds": [{"zoo": zoo, "echo": echo}]}})

    assert found["identity model, unary, 32 callers ÷ bare grpc.aio echo"].measured == 0.9
    assert found["identity model, unary, 64 callers ÷ bare grpc.aio echo"].met
    assert found["identity model, unary: server CPU a call, µs, the most of 32 and 64 callers"].measured == 310.0
    assert found["identity model, streamed: calls a second, the best of the ways"].met


def test_aims_of_open_loops_compare_with_bound_simulator_and_triton() -> None:
    figures = {
        "perf": {"zoo": {"calls_s": 500.0}, "triton": {"calls_s": 100.0}},
        "latency": {
            "zoo": {"at": {"0.7": {"p99_ms": 60.0}}},
            "triton": {"at": {"0.7": {"p99_ms": 120.0}}},
        },
        "overload": {"zoo": {"goodput": 0.76, "bound": 0.8}},
        "server": {"zoo": {"server_s": 45.0, "simulated": {"server_s": 60.0}}},
    }

    found = by_name({"cases": {CNN: {"rounds": [figures]}, TRANSFORMER: {"rounds": [figures]}}})

    assert found[f"{CNN}: as shipped ÷ Triton (eager fp32), 32 callers, perf_analyzer"].measured == 5.0
    assert found[f"{TRANSFORMER}: p99 at 70 % of capacity ÷ Triton's at 70 % of its own"].measured == 0.5
    assert found[f"{CNN}: in time at 2× capacity ÷ the bound of the run"].met
    assert found[f"{CNN}: Server rate ÷ the simulator's with the costs of the run"].measured == 0.75


def test_aims_of_raw_inputs_and_starts() -> None:
    raw = {"raw": {"limits": {"best": {"rows_s": 200.0}}, "servers": {"zoo": {"32": {"calls_s": 150.0}}}}}
    text = {"closed": {"servers": {"zoo": {"32": {"calls_s": 250.0}}, "triton": {"32": {"calls_s": 100.0}}}}}
    cases = {PHOTOS: {"rounds": [raw]}, SPEECH: {"rounds": [raw]}, TEXT: {"rounds": [text]}}
    starts = {"models": {"cnn": {"first": {"fast_s": 9.0}, "next": {"fast_s": None}}}}

    found = by_name({"cases": cases, "starts": starts})

    assert found[f"{PHOTOS} (JPEG), 32 callers ÷ in-process limit with decoding"].measured == 0.75
    assert found[f"{SPEECH} (FLAC), 32 callers ÷ in-process limit with decoding"].met is False
    assert found[f"{TEXT}: as shipped ÷ Triton (eager fp32), 32 callers"].measured == 2.5
    assert found["cnn: READY → fast tier on an idle server, first start, s"].met
    assert found["cnn: READY → fast tier on an idle server, next start, s"].met is None
