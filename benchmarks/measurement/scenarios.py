"""The scenarios: each measures all servers in one round and returns server → figures, a part of the report."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.load import mlperf
from benchmarks.load.arrivals import largest_rate
from benchmarks.measurement.testbed import OVERLOAD_DEADLINE_MS, Testbed, console
from benchmarks.participants.server import Server

CONCURRENCY = (1, 8, 32, 64)
P99_BOUND = 5.0
"""Of MLPerf's Server scenario: the p99 may be this many times the latency of a single caller."""
PROBES = 7
LOWEST = 0.1
"""Share of the Offline rate at which the search for the Server rate begins."""
MOST_LATE = 0.01
"""Share of the calls that may be late or refused in the Server scenario."""

Figures = dict[str, Any]


def closed_command(server: Server, model: str, concurrency: int, seconds: float) -> Figures:
    """A command for callers that wait for their answers."""
    groups = [[f"{server.name} {model}", concurrency]]
    return {"kind": "closed", "protocol": server.protocol, "groups": groups, "seconds": seconds}


def closed(testbed: Testbed, model: str, round_number: int, seconds: float) -> Figures:
    """Closed loop at each concurrency, and the rate of the in-process limits."""
    limits: Figures = {tier: limit.rate(seconds) for tier, limit in testbed.limits.items()}
    answer: Figures = {"limits": limits, "servers": {}}
    for server in testbed.each_server(round_number):
        answer["servers"][server.name] = {
            str(c): testbed.load(server, closed_command(server, model, c, seconds)) for c in CONCURRENCY
        }
    line = ", ".join(f"limit {tier} {rate['rows_s']:.1f}" for tier, rate in limits.items())
    for name, at in answer["servers"].items():
        line += f"\n    {name}: " + ", ".join(f"{c}: {f['calls_s']:.1f}/s {f['p99_ms']:.0f} ms" for c, f in at.items())
    console.print(f"  closed loop: {line}")
    return answer


def server(testbed: Testbed, model: str, round_number: int, seconds: float) -> Figures:
    """MLPerf's Server and Offline: the largest Poisson rate with the p99 within its bound, beside the rate without a bound.

    The bound is P99_BOUND × the server's median latency with one caller. Every call carries the bound as its deadline. A call
    that is refused or late counts against MOST_LATE. LoadGen issues the calls and judges the run if it is installed; otherwise
    the open loop of `load.client` does. Servers that cannot be told of a deadline are left out.
    """
    answer: Figures = {}
    kind = "mlperf" if mlperf.available() else "open"
    least = {"least": 10 if testbed.quick else mlperf.LEAST_QUERIES} if kind == "mlperf" else {}
    for one in testbed.each_server(round_number):
        if not one.keeps_deadlines:  # bisection takes two minutes a server
            continue
        single = testbed.load(one, closed_command(one, model, 1, seconds))["p50_ms"]
        offline = testbed.load(one, closed_command(one, model, 128, seconds))["calls_s"]
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
    return answer


def overload(testbed: Testbed, model: str, round_number: int, seconds: float) -> Figures:
    """Twice the capacity at Poisson times, each call with the same deadline: answers in time ÷ capacity."""
    answer: Figures = {}
    for one in testbed.each_server(round_number):
        capacity = testbed.load(one, closed_command(one, model, 64, seconds))["calls_s"]
        if not capacity:
            console.print(f"  overload: {one.name} gave no answer in {seconds:g} s")
            continue
        command = {
            "kind": "open",
            "protocol": one.protocol,
            "messages": f"{one.name} {model} within",
            "rate": 2 * capacity,
            "seconds": 2 * seconds,
            "seed": 23 + round_number,
            "deadline_ms": OVERLOAD_DEADLINE_MS,
        }
        figures = testbed.load(one, command)
        answer[one.name] = {"capacity_s": capacity, "goodput": figures["good_s"] / capacity, **figures}
        console.print(f"  overload: {one.name} {answer[one.name]['goodput']:.2f} of {capacity:.1f}/s in time")
    return answer


def lengths(testbed: Testbed, model: str, round_number: int, seconds: float) -> Figures:
    """Texts of lengths as in reviews: through the servers, beside in-process batching in arrival order and by length."""
    limits = {
        tier: {order: limit.texts(order, seconds) for order in ("arrival", "length")}
        for tier, limit in testbed.limits.items()
    }
    answer: Figures = {"limits": limits, "servers": {}}
    for one in testbed.each_server(round_number):
        answer["servers"][one.name] = {
            str(c): testbed.load(one, closed_command(one, model, c, 2 * seconds)) for c in (32, 64)
        }
    for tier, orders in limits.items():
        console.print(
            f"  texts, in-process {tier}: " + ", ".join(f"by {k} {v['rows_s']:.1f}" for k, v in orders.items())
        )
    for name, at in answer["servers"].items():
        console.print(
            f"  texts, {name}: "
            + ", ".join(f"{c}: {f['calls_s']:.1f}/s padded {f.get('padding', float('nan')):.2f}" for c, f in at.items())
        )
    return answer


def mixed(testbed: Testbed, models: list[str], round_number: int, seconds: float) -> Figures:
    """Two models at once, 32 callers each, beside each alone: the share of its own rate that each keeps."""
    answer: Figures = {}
    for one in testbed.each_server(round_number):
        alone = [testbed.load(one, closed_command(one, model, 32, seconds))["calls_s"] for model in models]
        groups = [[f"{one.name} {model}", 32] for model in models]
        command = {"kind": "closed", "protocol": one.protocol, "groups": groups, "seconds": seconds}
        figures = testbed.load(one, command)
        if not all(alone):
            console.print(f"  mixed: {one.name} gave no answer in {seconds:g} s")
            continue
        shares = [group["calls_s"] / rate for group, rate in zip(figures["groups"], alone, strict=True)]
        answer[one.name] = {"alone": dict(zip(models, alone, strict=True)), "shares": shares, **figures}
        console.print(
            f"  mixed: {one.name} keeps " + ", ".join(f"{s:.2f} of {m}" for s, m in zip(shares, models, strict=True))
        )
    return answer
