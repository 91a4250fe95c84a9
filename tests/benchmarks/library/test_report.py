"""The page of `make bench-zoo` states ratios beside the aims that apply."""

from __future__ import annotations

from typing import Any

from benchmarks.library.report import page
from benchmarks.library.run import summary

MACHINE = {"processor": "two cores", "cores": 2}


def turns(zoo: float, eager: float, library: float) -> dict[str, Any]:
    return {
        "zoo": {"rows_s": zoo, "p50_ms": 10.0},
        "zoo-eager": {"rows_s": eager, "p50_ms": 12.0},
        "library": {"rows_s": library, "p50_ms": 20.0, "peak_mib": 500.0},
    }


def record(*rounds: dict[str, Any], tier: str = "openvino") -> dict[str, Any]:
    return {
        "rounds": list(rounds),
        "zoo load_s": [0.9, 0.5, 0.7],
        "library load_s": [0.2, 0.3, 0.4],
        "memory": {"zoo": {"peak_mib": 600.0, "pss_mib": 550.0}},
        "zoo tier": {"tier": tier},
    }


def test_ratios_are_within_a_round_with_their_range() -> None:
    found = summary(record(turns(60, 30, 30), turns(30, 27, 30), turns(90, 30, 60)))
    assert found["zoo ÷ library"] == [1.5, 1.0, 2.0]
    assert found["zoo-eager ÷ library"] == [0.9, 0.5, 1.0]
    assert found["p50 of one caller, zoo ÷ library"] == [0.5, 0.5, 0.5]
    assert found["peak ÷ library"] == 1.2
    assert (found["load_s"], found["library load_s"]) == (0.7, 0.3)


def test_aim_is_that_of_the_tier_and_only_of_networks_of_ten_milliseconds() -> None:
    figures = {
        "machine": MACHINE,
        "rounds": 1,
        "seconds": 4.0,
        "networks": {
            "efficientnet_lite0": {"library": "timm", **record(turns(60, 30, 30))},
            "resnet50": {"library": "timm", **record(turns(30, 29, 30), tier="eager")},
            "bert_base": {"library": "text-classification", **record(turns(900, 500, 400))},
        },
    }
    [_, _, cnn, resnet, bert] = [line for line in page(figures).splitlines() if line.startswith("|")]
    assert "2.00 (2.00–2.00) (aim ≥ 1.0)" in cnn
    assert "0.7 (aim ≤ 1)" in cnn
    assert resnet.count("aim ≥ 0.85") == 2
    assert "aim" not in bert, "a row takes less than ten milliseconds"


def test_network_that_could_not_be_measured_says_why() -> None:
    figures = {"machine": MACHINE, "rounds": 1, "seconds": 4.0, "networks": {"resnet50": {"failed": "no memory\nmore"}}}
    assert "not measured: no memory" in page(figures)


def test_start_states_the_seconds_to_ready() -> None:
    start = {"ready_s": [7.5, 9.0, 8.0], "loads_s": []}
    text = page({"machine": MACHINE, "rounds": 1, "seconds": 4.0, "networks": {}, "start": start})
    assert "READY 8.0 s after the command (7.5, 9.0, 8.0; aim ≤ 8)" in text
