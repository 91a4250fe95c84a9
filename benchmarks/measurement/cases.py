"""The cases of a run: models in one form of input, their participants, and the scenarios that are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.measurement import scenarios
from benchmarks.measurement.testbed import Plan, Testbed, console

ZOO = ("zoo", "zoo-eager")
BATCHING = (*ZOO, "triton")
ALL_SERVERS = (*BATCHING, "litserve", "mlserver")
TIERS = ("eager", "best")

ScenarioOfOneModel = Callable[[Testbed, str, int, float], dict[str, Any]]
SCENARIOS: Mapping[str, ScenarioOfOneModel] = {
    "closed": scenarios.closed,
    "server": scenarios.server,
    "overload": scenarios.overload,
    "lengths": scenarios.lengths,
}


@dataclass(frozen=True)
class Case:
    """Models in a form of input, the servers that take part, and the scenarios."""

    models: tuple[str, ...]
    form: str
    servers: tuple[str, ...]
    scenarios: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in reports."""
        return f"{' + '.join(self.models)} {self.form}"


CASES = (
    Case(("efficientnet_lite0",), "tensors", ALL_SERVERS, ("closed", "server", "overload")),
    Case(("all_minilm_l6_v2",), "tensors", BATCHING, ("closed", "server", "overload")),
    Case(("all_minilm_l6_v2",), "raw", ALL_SERVERS, ("closed",)),
    Case(("efficientnet_lite0",), "raw", ZOO, ("closed",)),
    Case(("silero_vad",), "raw", ZOO, ("closed",)),
    Case(("all_minilm_l6_v2",), "reviews", BATCHING, ("lengths",)),
    Case(("efficientnet_lite0", "all_minilm_l6_v2"), "tensors", BATCHING, ("mixed",)),
)


def measure_case(case: Case, wanted: tuple[str, ...], plan: Plan) -> dict[str, Any]:
    """All rounds of a case; `wanted` are the scenarios that are measured."""
    console.print(f"[bold]{case.name}[/]: {', '.join(wanted)}")
    tiers = TIERS if {"closed", "lengths"} & set(wanted) else ()
    rounds = []
    with Testbed(case.models, case.form, case.servers, tiers, plan) as testbed:
        for number in range(plan.rounds):
            figures = {}
            for name in wanted:
                if name == "mixed":
                    figures[name] = scenarios.mixed(testbed, list(case.models), number, plan.seconds)
                else:
                    figures[name] = SCENARIOS[name](testbed, case.models[0], number, plan.seconds)
            rounds.append(figures)
        memory = testbed.memory()
        return {**testbed.record, "scenarios": list(wanted), "rounds": rounds, "memory": memory}
