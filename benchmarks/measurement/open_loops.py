"""The scenarios with calls at their own times: each measures all servers in one round and returns server → figures."""

from __future__ import annotations

import math

from benchmarks.load import mlperf
from benchmarks.load.arrivals import largest_rate
from benchmarks.measurement.in_process_limit import InProcessLimit
from benchmarks.measurement.overload_bound import cost_of_refusal, most_answered
from benchmarks.measurement.plan import Selection
from benchmarks.measurement.scenarios import LIMIT_OF, Figures, closed_command
from benchmarks.measurement.testbed import OVERLOAD_DEADLINE_MS, Testbed, console
from benchmarks.participants.server import Server
from benchmarks.simulation.server_rate import ServerRun, simulated_rate

FULL = 64
"""Callers of the closed loop whose rate is a participant's capacity."""
MANY = 128
"""Callers of the Offline rate."""
OVERLOAD = 2.0
MOST_ANSWERED = 0.5
"""Share of the calls without hope that a server may answer all the same; more of them hide what a refusal costs."""
LATENCY_ANSWERS, LATENCY_FACTOR = 1000, 4.0
"""An open loop lasts until so many answers, for a p99.9, but at most this many times the length of a measurement."""
P99_BOUND = 5.0
"""Of MLPerf's Server scenario: the p99 may be this many times the latency of a single caller."""
PROBES = 7
LOWEST = 0.1
"""Share of the Offline rate at which the search for the Server rate begins."""
MOST_LATE = 0.01
"""Share of the calls that may be late or refused in the Server scenario."""


def latency(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """Latencies of an open loop at shares of each server's own capacity, from the time at which each call was due."""
    answer: Figures = {}
    for one in testbed.each_server(round_number, chosen.servers):
        capacity = testbed.load(one, closed_command(one, model, FULL, seconds))["calls_s"]
        if not capacity:
            console.print(f"  latency: {one.name} gave no answer in {seconds:g} s")
            continue
        answer[one.name] = {"capacity_s": capacity, "at": {}}
        for share in chosen.shares:
            rate = share * capacity
            command = {
                "kind": "open",
                "protocol": one.protocol,
                "messages": f"{one.name} {model}",
                "rate": rate,
                "seconds": max(seconds, min(LATENCY_ANSWERS / rate, LATENCY_FACTOR * seconds)),
                "seed": 37 + round_number,
            }
            answer[one.name]["at"][f"{share:g}"] = testbed.load(one, command)
        line = ", ".join(f"× {s} {f['p99_ms']:.0f} ms" for s, f in answer[one.name]["at"].items())
        console.print(f"  latency: {one.name} p99 of {capacity:.1f}/s {line}")
    return answer


def server(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """MLPerf's Server and Offline: the largest Poisson rate with the p99 within its bound, beside the rate without a bound.

    The bound is P99_BOUND × the server's median latency with one caller. Every call carries the bound as its deadline. A call
    that is refused or late counts against MOST_LATE. LoadGen issues the calls and judges the run if it is installed; otherwise
    the open loop of `load.client` does. Servers that cannot be told of a deadline are left out. `simulated` is the rate that the
    scheduler's policy reaches in the simulator with the costs of this round.
    """
    answer: Figures = {}
    kind = "mlperf" if mlperf.available() else "open"
    least = {"least": 10 if testbed.quick else mlperf.LEAST_QUERIES} if kind == "mlperf" else {}
    for one in testbed.each_server(round_number, chosen.servers):
        if not one.keeps_deadlines:  # bisection takes two minutes a server
            continue
        single = testbed.load(one, closed_command(one, model, 1, seconds))["p50_ms"]
        full = testbed.load(one, closed_command(one, model, MANY, seconds))
        offline = full["calls_s"]
        if not (math.isfinite(single) and offline > 0):
            console.print(f"  server: {one.name} gave no answer in {seconds:g} s")
            continue
        bound = P99_BOUND * single
        trials: list[Figures] = []
        common = {
            "kind": kind,
            "protocol": one.protocol,
            "messages": f"{one.name} {model}",
            "seed": 11 + round_number,
            "deadline_ms": bound,
            **least,
        }

        def holds(rate: float, one: Server = one, common: Figures = common, trials: list[Figures] = trials) -> bool:
            figures = testbed.load(one, {**common, "rate": rate, "seconds": 2 * seconds})
            trials.append({"rate": rate, **figures})
            valid = figures.get("valid", True) or testbed.quick  # a quick run is too short for LoadGen to judge
            return bool(valid and figures["good_share"] >= 1.0 - MOST_LATE)

        rate = largest_rate(holds, LOWEST * offline, offline, PROBES)
        answer[one.name] = {
            "single_ms": single,
            "bound_ms": bound,
            "offline_s": offline,
            "server_s": rate,
            "ratio": rate / offline,
            "generator": "mlcommons-loadgen" if kind == "mlperf" else "own",
            "trials": trials,
        }
        console.print(f"  server: {one.name} {rate:.1f}/s of {offline:.1f}/s with p99 ≤ {bound:.0f} ms")
        limit = testbed.limits.get(LIMIT_OF.get(one.name, ""))
        if limit and full.get("batch_rows"):
            rows = testbed.max_batch_size(one, model)
            answer[one.name] |= _simulated(testbed, limit, answer[one.name], full, rows, seconds, round_number)
            console.print(f"    simulated: {answer[one.name]['simulated']['server_s']:.1f}/s")
    return answer


def _simulated(
    testbed: Testbed,
    limit: InProcessLimit,
    found: Figures,
    full: Figures,
    max_batch_size: int,
    seconds: float,
    round_number: int,
) -> Figures:
    """The Server rate of the simulator with the costs of this round: batches in-process, and the server's own figures."""
    costs = testbed.limit(limit.costs)
    run = ServerRun(
        batch_s={int(rows): ms / 1000.0 for rows, ms in costs["batch_ms"].items()},
        sigma=costs["sigma"],
        lanes=limit.best["lanes"],
        max_batch_size=max_batch_size,
        offline_s=found["offline_s"],
        offline_rows=full["batch_rows"],
        single_s=found["single_ms"] / 1000.0,
        bound_s=found["bound_ms"] / 1000.0,
        queries=mlperf.LEAST_QUERIES,
        seconds=2 * seconds,
        probes=PROBES,
        lowest=LOWEST,
    )
    return {"costs": costs, "simulated": simulated_rate(run, 11 + round_number)}


def overload(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """Twice the capacity at Poisson times, each call with the same deadline: answers in time ÷ capacity.

    As many calls whose deadline nobody can meet tell what sending and refusing cost; `bound` is the share that can be answered in
    time at these costs (overload_bound.py).
    """
    answer: Figures = {}
    for one in testbed.each_server(round_number, chosen.servers):
        full = testbed.load(one, closed_command(one, model, FULL, seconds))
        capacity = full["calls_s"]
        if not capacity:
            console.print(f"  overload: {one.name} gave no answer in {seconds:g} s")
            continue
        command = {
            "kind": "open",
            "protocol": one.protocol,
            "messages": f"{one.name} {model} within",
            "rate": OVERLOAD * capacity,
            "seconds": 2 * seconds,
            "seed": 23 + round_number,
            "deadline_ms": OVERLOAD_DEADLINE_MS,
        }
        figures = testbed.load(one, command)
        answer[one.name] = {"capacity_s": capacity, "goodput": figures["good_s"] / capacity, **figures}
        line = f"  overload: {one.name} {answer[one.name]['goodput']:.2f} of {capacity:.1f}/s in time"
        if one.keeps_deadlines:
            hopeless = {**command, "messages": f"{one.name} {model} too late", "seconds": seconds, "deadline_ms": None}
            answer[one.name] |= bound_of(full, testbed.load(one, hopeless))
            line += f"; bound {answer[one.name].get('bound', math.nan):.2f}"
        console.print(line)
    return answer


def bound_of(full: Figures, flood: Figures) -> Figures:
    """The bound of the overload, from the figures at capacity and those of calls without hope. There is none for a server that
    answers most of the latter."""
    if flood["good_share"] > MOST_ANSWERED:
        return {"refused_share": 1.0 - flood["good_share"]}
    cores = full["server_cores"] + full["client_cores"]
    answered_s = cores / full["calls_s"]
    refused = flood["server_cores"] + flood["client_cores"]
    refused_s = cost_of_refusal(refused, flood["offered_s"], answered_s, flood["good_s"])
    return {
        "bound": most_answered(refused_s, answered_s, OVERLOAD),
        "answered_ms": 1000.0 * answered_s,
        "refused_ms": 1000.0 * refused_s,
        "refused_share": 1.0 - flood["good_share"],
    }
