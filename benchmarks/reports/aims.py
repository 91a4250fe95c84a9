"""The aims, beside the figures of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.reports.statistics import Round, middle, ratio

CNN, TRANSFORMER = "efficientnet_lite0 tensors", "all_minilm_l6_v2 tensors"
TEXT, PHOTOS, SPEECH = "all_minilm_l6_v2 raw", "efficientnet_lite0 raw", "silero_vad raw"
COMPARED = (CNN, TRANSFORMER)

Rounds = Sequence[Round]


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
    yield from _call_alone(report.get("null", {}).get("rounds", []))
    yield from _beside_triton(rounds_of)
    yield from _beside_limits(report, rounds_of)
    yield from _starts(report.get("starts", {}).get("models", {}))


def _call_alone(rounds: Rounds) -> Iterator[Aim]:
    kinds = list(rounds[0].get("zoo", {})) if rounds else []
    for callers in ("32", "64"):
        kind = f"unary, {callers} callers"
        share = ratio(rounds, ("zoo", kind, "calls_s"), ("echo", kind, "calls_s"))
        yield Aim(f"identity model, unary, {callers} callers ÷ bare grpc.aio echo", 1.0, share)
    spent = [middle(rounds, "zoo", f"unary, {callers} callers", "server_us") for callers in ("32", "64")]
    yield Aim("identity model, unary: server CPU a call, µs, the most of 32 and 64 callers", 300.0, _most(spent), True)
    streamed = [middle(rounds, "zoo", kind, "calls_s") for kind in kinds if "streamed" in kind]
    yield Aim("identity model, streamed: calls a second, the best of the ways", 10_000.0, _most(streamed))


def _beside_triton(rounds_of: Mapping[str, Rounds]) -> Iterator[Aim]:
    cnn = rounds_of.get(CNN, [])
    perf = ratio(cnn, ("perf", "zoo", "calls_s"), ("perf", "triton", "calls_s"))
    yield Aim(f"{CNN}: as shipped ÷ Triton (eager fp32), 32 callers, perf_analyzer", 5.0, perf)
    for case, wanted in ((CNN, 3.8), (TRANSFORMER, 2.7), (TEXT, 2.4)):
        rate = ratio(rounds_of.get(case, []), _closed("zoo", "32"), _closed("triton", "32"))
        yield Aim(f"{case}: as shipped ÷ Triton (eager fp32), 32 callers", wanted, rate)
    for case in COMPARED:
        rates = [
            ratio(rounds_of.get(case, []), _closed("zoo-openvino", callers), _closed("triton-openvino", callers))
            for callers in ("8", "32", "64")
        ]
        # The least of some would hide the missing ones.
        least = None if None in rates else _least(rates)
        yield Aim(f"{case}: the same OpenVINO network in Zoo ÷ in Triton, the least of 8 to 64 callers", 1.1, least)
    for case in COMPARED:
        p99 = [("latency", name, "at", "0.7", "p99_ms") for name in ("zoo", "triton")]
        tail = ratio(rounds_of.get(case, []), p99[0], p99[1])
        yield Aim(f"{case}: p99 at 70 % of capacity ÷ Triton's at 70 % of its own", 0.6, tail, True)


def _beside_limits(report: dict[str, Any], rounds_of: Mapping[str, Rounds]) -> Iterator[Aim]:
    for case in COMPARED:
        share = ratio(rounds_of.get(case, []), _closed("zoo-eager", "32"), ("closed", "reached", "zoo-eager", "rows_s"))
        yield Aim(f"{case}: eager ÷ in-process limit at the batch size reached, 32 callers", 0.95, share)
    for case in COMPARED:
        share = ratio(rounds_of.get(case, []), ("overload", "zoo", "goodput"), ("overload", "zoo", "bound"))
        yield Aim(f"{case}: in time at 2× capacity ÷ the bound of the run", 0.90, share)
    for case in COMPARED:
        simulated = ("server", "zoo", "simulated", "server_s")
        share = ratio(rounds_of.get(case, []), ("server", "zoo", "server_s"), simulated)
        yield Aim(f"{case}: Server rate ÷ the simulator's with the costs of the run", 0.90, share)
    for case, kind in ((PHOTOS, "JPEG"), (SPEECH, "FLAC")):
        limit = ("raw", "limits", "best", "rows_s")
        share = ratio(rounds_of.get(case, []), ("raw", "servers", "zoo", "32", "calls_s"), limit)
        yield Aim(f"{case} ({kind}), 32 callers ÷ in-process limit with decoding", 0.90, share)
    for case in COMPARED:
        peak = report["cases"].get(case, {}).get("memory", {}).get("zoo", {}).get("peak_mib")
        script = middle(rounds_of.get(case, []), "closed", "limits", "best", "peak_mib")
        share = peak / script if peak and script else None
        yield Aim(f"{case}: peak memory as shipped ÷ script", 1.25, share, at_most=True)


def _starts(models: Mapping[str, Any]) -> Iterator[Aim]:
    model = next(iter(models), CNN.partition(" ")[0])
    for start, wanted in (("first", 10.0), ("next", 2.0)):
        seconds = models.get(model, {}).get(start, {}).get("fast_s")
        yield Aim(f"{model}: READY → fast tier on an idle server, {start} start, s", wanted, seconds, at_most=True)


def _closed(server: str, callers: str) -> tuple[str, ...]:
    return ("closed", "servers", server, callers, "calls_s")


def _least(figures: list[float | None]) -> float | None:
    return min((figure for figure in figures if figure is not None), default=None)


def _most(figures: list[float | None]) -> float | None:
    return max((figure for figure in figures if figure is not None), default=None)
