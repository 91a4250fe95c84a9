"""The aims, beside the figures of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.reports.statistics import middle, ratio

CNN, TRANSFORMER = "efficientnet_lite0 tensors", "all_minilm_l6_v2 tensors"
TEXTS = "all_minilm_l6_v2 reviews"
COMPARED = (CNN, TRANSFORMER)


@dataclass(frozen=True)
class Aim:
    """A bound, and the figure of a run; None if it was not measured."""

    name: str
    wanted: float
    measured: float | None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the figure meets the bound; None if it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


def aims(report: dict[str, Any]) -> Iterator[Aim]:
    """Every aim, in the order of docs/benchmarks.md."""
    rounds_of = {name: case.get("rounds", []) for name, case in report["cases"].items()}
    for case in COMPARED:
        rounds = rounds_of.get(case, [])
        eager, shipped = ("closed", "servers", "zoo-eager"), ("closed", "servers", "zoo")
        limit = ("closed", "limits", "eager", "rows_s")
        triton = ("closed", "servers", "triton")
        at = list(rounds[0].get("closed", {}).get("servers", {}).get("zoo-eager", {})) if rounds else []
        rates = [ratio(rounds, (*eager, c, "calls_s"), (*triton, c, "calls_s")) for c in at]
        tails = [ratio(rounds, (*eager, c, "p99_ms"), (*triton, c, "p99_ms")) for c in at]
        yield Aim(
            f"{case}: eager ÷ in-process limit, 32 callers", 0.95, ratio(rounds, (*eager, "32", "calls_s"), limit)
        )
        yield Aim(f"{case}: eager ÷ Triton, the least over callers", 1.0, _least(rates))
        yield Aim(f"{case}: eager p99 ÷ Triton's, the most over callers", 1.0, _most(tails), at_most=True)
        yield Aim(
            f"{case}: as shipped ÷ Triton, 32 callers",
            3.0,
            ratio(rounds, (*shipped, "32", "calls_s"), (*triton, "32", "calls_s")),
        )
    rounds = rounds_of.get(TEXTS, [])
    texts = ("lengths", "servers", "zoo", "32")
    for tier, mode in (("eager", "eager"), ("best", "compiled")):
        arrival = ("lengths", "limits", tier, "arrival", "rows_s")
        yield Aim(
            f"texts of unlike lengths: as shipped ÷ {mode} in-process in arrival order",
            2.0,
            ratio(rounds, (*texts, "calls_s"), arrival),
        )
    yield Aim("texts of unlike lengths: padded share", 0.10, middle(rounds, *texts, "padding"), at_most=True)
    for case in COMPARED:
        rounds = rounds_of.get(case, [])
        yield Aim(f"{case}: in time ÷ capacity at 2× capacity", 0.90, middle(rounds, "overload", "zoo", "goodput"))
        yield Aim(f"{case}: Server ÷ Offline", 0.80, middle(rounds, "server", "zoo", "ratio"))
    rounds = report.get("null", {}).get("rounds", [])
    kinds = list(rounds[0].get("zoo", {})) if rounds else []
    streamed = [middle(rounds, "zoo", kind, "calls_s") for kind in kinds if "streamed" in kind]
    unary = [ratio(rounds, ("zoo", k, "calls_s"), ("echo", k, "calls_s")) for k in kinds if "unary" in k]
    yield Aim("the call alone, streamed: calls a second, the best of the ways", 10_000.0, _most(streamed))
    yield Aim("the call alone, unary ÷ bare echo, the least over callers", 0.90, _least(unary))
    for case in COMPARED:
        peak = report["cases"].get(case, {}).get("memory", {}).get("zoo", {}).get("peak_mib")
        script = middle(rounds_of.get(case, []), "closed", "limits", "best", "peak_mib")
        share = peak / script if peak and script else None
        yield Aim(f"{case}: peak memory as shipped ÷ script", 1.15, share, at_most=True)


def _least(figures: list[float | None]) -> float | None:
    return min((figure for figure in figures if figure is not None), default=None)


def _most(figures: list[float | None]) -> float | None:
    return max((figure for figure in figures if figure is not None), default=None)
