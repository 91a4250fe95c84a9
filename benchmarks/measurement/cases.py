"""The cases of a run: models in one form of input, their participants, and the scenarios that are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from benchmarks.measurement import open_loops, scenarios
from benchmarks.measurement.plan import ALL, Plan, Selection
from benchmarks.measurement.testbed import Testbed, console

ZOO = ("zoo", "zoo-eager")
BATCHING = (*ZOO, "triton")
ALIKE = (*BATCHING, "zoo-openvino", "triton-openvino")
ALL_SERVERS = (*ALIKE, "litserve", "mlserver")
ALL_SERVERS_OF_TEXT = (*BATCHING, "litserve", "mlserver")
TIERS = ("eager", "best")
WITH_LIMITS = {"closed", "lengths", "raw", "server"}
"""Scenarios that measure the in-process limits as well."""

ScenarioOfOneModel = Callable[[Testbed, str, int, float, Selection], dict[str, Any]]
SCENARIOS: Mapping[str, ScenarioOfOneModel] = {
    "closed": scenarios.closed,
    "raw": scenarios.raw,
    "perf": scenarios.perf,
    "latency": open_loops.latency,
    "server": open_loops.server,
    "overload": open_loops.overload,
    "lengths": scenarios.lengths,
}


@dataclass(frozen=True)
class Case:
    """Models in a form of input, the servers that take part, and the scenarios."""

    models: tuple[str, ...]
    form: str
    servers: tuple[str, ...]
    scenarios: tuple[str, ...]
    aims: Mapping[str, Selection] = field(default_factory=lambda: MappingProxyType({}))
    """Its part that the aims need (`--aims`), by scenario."""

    @property
    def name(self) -> str:
        """The name in reports."""
        return f"{' + '.join(self.models)} {self.form}"

    def scenarios_of(self, plan: Plan) -> tuple[str, ...]:
        """The scenarios that a plan measures."""
        return tuple(s for s in self.scenarios if not plan.aims or s in self.aims)

    def selection(self, scenario: str, plan: Plan) -> Selection:
        """The points of a scenario that a plan measures."""
        return self.aims[scenario] if plan.aims else ALL

    def servers_of(self, wanted: Sequence[str], plan: Plan) -> tuple[str, ...]:
        """The servers that some of the wanted scenarios measure."""
        chosen = [self.selection(scenario, plan).servers for scenario in wanted]
        return tuple(s for s in self.servers if any(not servers or s in servers for servers in chosen))


AT_32 = MappingProxyType({"zoo": (32,), "zoo-eager": (32,), "triton": (32,)})
ALIKE_CALLERS = MappingProxyType({**AT_32, "zoo-openvino": (8, 32, 64), "triton-openvino": (8, 32, 64)})
ZOO_ALONE, ZOO_AND_TRITON = Selection(("zoo",)), Selection(("zoo", "triton"), AT_32)
AIMS_OF_TENSORS = {
    "closed": Selection(ALIKE, ALIKE_CALLERS),
    "perf": ZOO_AND_TRITON,
    "latency": Selection(("zoo", "triton"), shares=(0.7,)),
    "server": ZOO_ALONE,
    "overload": ZOO_ALONE,
}
AIMS_OF_RAW = {"raw": Selection(("zoo",), AT_32)}
TENSORS = ("closed", "perf", "latency", "server", "overload")

CASES = (
    Case(("efficientnet_lite0",), "tensors", ALL_SERVERS, TENSORS, AIMS_OF_TENSORS),
    Case(
        ("all_minilm_l6_v2",),
        "tensors",
        ALIKE,
        tuple(scenario for scenario in TENSORS if scenario != "perf"),
        {name: chosen for name, chosen in AIMS_OF_TENSORS.items() if name != "perf"},
    ),
    Case(("all_minilm_l6_v2",), "raw", ALL_SERVERS_OF_TEXT, ("closed",), {"closed": ZOO_AND_TRITON}),
    Case(("efficientnet_lite0",), "raw", ZOO, ("closed", "raw"), AIMS_OF_RAW),
    Case(("silero_vad",), "raw", ZOO, ("closed", "raw"), AIMS_OF_RAW),
    Case(("all_minilm_l6_v2",), "reviews", BATCHING, ("lengths",)),
    Case(("efficientnet_lite0", "all_minilm_l6_v2"), "tensors", BATCHING, ("mixed",)),
)


def measure_case(case: Case, wanted: Sequence[str], plan: Plan, keep: Callable[[dict[str, Any]], object]) -> None:
    """All rounds of the wanted scenarios of a case. `keep` gets the figures so far after each scenario."""
    console.print(f"[bold]{case.name}[/]: {', '.join(wanted)}")
    tiers = TIERS if WITH_LIMITS & set(wanted) else ()
    rounds: list[dict[str, Any]] = [{} for _ in range(plan.rounds)]
    with Testbed(case.models, case.form, case.servers_of(wanted, plan), tiers, plan) as testbed:
        for done, name in enumerate(wanted, 1):
            chosen = case.selection(name, plan)
            for number, figures in enumerate(rounds):
                if name == "mixed":
                    figures[name] = scenarios.mixed(testbed, list(case.models), number, plan.seconds, chosen)
                else:
                    figures[name] = SCENARIOS[name](testbed, case.models[0], number, plan.seconds, chosen)
            measured = {
                **testbed.record,
                "scenarios": list(wanted[:done]),
                "rounds": [dict(figures) for figures in rounds],
                "memory": testbed.memory(),
                "sentinel": testbed.sentinel.record(),
            }
            keep(measured)
