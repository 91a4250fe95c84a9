"""The contenders beside each other."""

from benchmarks.simulate import play
from benchmarks.simulation.scenarios import SCENARIOS


def test_zoo_keeps_goodput_at_twice_the_capacity_where_fcfs_loses_it() -> None:
    """The purpose of the policy, in half a minute of virtual time."""
    scenario = SCENARIOS["cpu-image-tight"]
    came = scenario.load(2.0, 300.0, seed=1)
    zoo, fcfs = (play(scenario, name, came, 1).tallies[0].in_time_s / came.seconds / 2 for name in ("zoo", "fcfs"))
    assert zoo >= 0.90
    assert fcfs < 0.10
