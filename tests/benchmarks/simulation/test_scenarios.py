"""The scenarios of the simulation."""

import pytest

from benchmarks.simulation.scenarios import SCENARIOS


def test_load_of_one_equals_the_capacity_of_the_device() -> None:
    for name in ("cpu-image-tight", "cpu-text-mixed", "cpu-two-bursty", "cpu-five-mixed", "a100-five-mixed"):
        scenario = SCENARIOS[name]
        load = scenario.load(1.0, 400.0, seed=3)
        lengths = zip(load.network.tolist(), load.length.tolist(), strict=True)
        work = sum(scenario.profiles[index].best_s(length) for index, length in lengths)
        asked = [part / sum(scenario.work) for part in scenario.work]
        assert work / load.seconds / scenario.on.lanes == pytest.approx(
            1.0, rel=0.25 if scenario.pattern == "bursty" else 0.05
        )
        assert sum(asked) == pytest.approx(1.0)
