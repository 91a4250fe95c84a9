"""The cases, and what the aims need of them."""

from pathlib import Path

from benchmarks.measurement.cases import CASES
from benchmarks.measurement.plan import CONCURRENCY, SHARES, Plan

FULL = Plan(Path(), 3, 4.0, False, frozenset())
AIMS = Plan(Path(), 3, 4.0, False, frozenset(), aims=True)


def test_full_run_measures_every_scenario_at_every_point() -> None:
    for case in CASES:
        assert case.scenarios_of(FULL) == case.scenarios
        assert case.servers_of(case.scenarios, FULL) == case.servers
        for scenario in case.scenarios:
            assert case.selection(scenario, FULL).callers_of("zoo") == CONCURRENCY
            assert case.selection(scenario, FULL).shares == SHARES


def test_aims_need_a_part_of_the_cases_with_their_servers() -> None:
    cnn = CASES[0]

    assert cnn.scenarios_of(AIMS) == cnn.scenarios
    assert cnn.servers_of(cnn.scenarios_of(AIMS), AIMS) == (
        "zoo",
        "zoo-eager",
        "triton",
        "zoo-openvino",
        "triton-openvino",
    )
    closed = cnn.selection("closed", AIMS)
    assert closed.callers_of("triton") == (32,)
    assert closed.callers_of("zoo-openvino") == closed.callers_of("triton-openvino") == (8, 32, 64)
    assert cnn.selection("latency", AIMS).shares == (0.7,)


def test_cases_without_an_aim_are_left_out() -> None:
    left_out = [case.name for case in CASES if not case.scenarios_of(AIMS)]
    assert left_out == ["all_minilm_l6_v2 reviews", "efficientnet_lite0 + all_minilm_l6_v2 tensors"]
