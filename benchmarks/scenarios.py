"""What is measured in a case, a round at a time. Each gives a part of the report: participant → figures."""

from __future__ import annotations

import math
from typing import Any

from benchmarks import mlperf
from benchmarks.arrivals import largest_rate
from benchmarks.field import OVERLOAD_DEADLINE_MS, Field, console
from benchmarks.peers.base import Server

CONCURRENCY = (1, 8, 32, 64)
P99_BOUND = 5.0
"""MLPerf's Server scenario here: the p99 may be this many times the single latency."""
PROBES = 7
LOWEST = 0.1
"""Of the Offline rate: where the search for the Server rate begins."""
MOST_LATE = 0.01

Figures = dict[str, Any]


def closed_order(server: Server, model: str, concurrency: int, seconds: float) -> Figures:
    """An order for callers that wait for their answers."""
    groups = [[f"{server.name} {model}", concurrency]]
    return {"kind": "closed", "protocol": server.protocol, "groups": groups, "seconds": seconds}


def closed(field: Field, model: str, number: int, seconds: float) -> Figures:
    """Closed loop at each concurrency, and the limits' rate."""
    found: Figures = {tier: limit.rate(seconds) for tier, limit in field.limits.items()}
    answer: Figures = {"limits": found, "servers": {}}
    for server in field.turns(number):
        answer["servers"][server.name] = {
            str(c): field.load(server, closed_order(server, model, c, seconds)) for c in CONCURRENCY
        }
    line = ", ".join(f"limit {tier} {rate['rows_s']:.1f}" for tier, rate in found.items())
    for name, at in answer["servers"].items():
        line += f"\n    {name}: " + ", ".join(f"{c}: {f['calls_s']:.1f}/s {f['p99_ms']:.0f} ms" for c, f in at.items())
    console.print(f"  closed loop: {line}")
    return answer


def server(field: Field, model: str, number: int, seconds: float) -> Figures:
    """MLPerf's Server and Offline: the largest Poisson rate with the p99 within its bound, beside all that can be had.

    The bound is P99_BOUND × the participant's own latency alone (median). Every call brings it as its deadline; a call that
    is refused or late counts against the hundredth that may be. LoadGen issues and judges where it is installed, else the own
    open loop does. Only who can be told of a deadline takes part.
    """
    answer: Figures = {}
    kind = "mlperf" if mlperf.available() else "open"
    least = {"least": 10 if field.quick else mlperf.LEAST_QUERIES} if kind == "mlperf" else {}
    for one in field.turns(number):
        if not one.keeps_deadlines:  # two minutes of bisection each
            continue
        single = field.load(one, closed_order(one, model, 1, seconds))["p50_ms"]
        offline = field.load(one, closed_order(one, model, 128, seconds))["calls_s"]
        if not (math.isfinite(single) and offline > 0):
            console.print(f"  server: {one.name} answered nobody in {seconds:g} s")
            continue
        bound = P99_BOUND * single
        trials: list[Figures] = []
        about = {"protocol": one.protocol, "messages": f"{one.name} {model}", "seed": 11 + number, "deadline_ms": bound}

        def holds(rate: float, one: Server = one, about: Figures = about, trials: list[Figures] = trials) -> bool:
            figures = field.load(one, {"kind": kind, **about, **least, "rate": rate, "seconds": 2 * seconds})
            trials.append({"rate": rate, **figures})
            valid = figures.get("valid", True) or field.quick  # a smoke run is too short for LoadGen to judge
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


def overload(field: Field, model: str, number: int, seconds: float) -> Figures:
    """Twice the capacity, at Poisson times, each call with the same deadline: answers in time ÷ capacity."""
    answer: Figures = {}
    for one in field.turns(number):
        capacity = field.load(one, closed_order(one, model, 64, seconds))["calls_s"]
        if not capacity:
            console.print(f"  overload: {one.name} answered nobody in {seconds:g} s")
            continue
        order = {"kind": "open", "protocol": one.protocol, "messages": f"{one.name} {model} within"}
        about = {"rate": 2 * capacity, "seconds": 2 * seconds, "seed": 23 + number, "deadline_ms": OVERLOAD_DEADLINE_MS}
        figures = field.load(one, {**order, **about})
        answer[one.name] = {"capacity_s": capacity, "goodput": figures["good_s"] / capacity, **figures}
        console.print(f"  overload: {one.name} {answer[one.name]['goodput']:.2f} of {capacity:.1f}/s in time")
    return answer


def lengths(field: Field, model: str, number: int, seconds: float) -> Figures:
    """Texts of lengths as in reviews: through the servers, beside in-process batching as they come and by length."""
    found = {
        tier: {order: limit.texts(order, seconds) for order in ("arrival", "length")}
        for tier, limit in field.limits.items()
    }
    answer: Figures = {"limits": found, "servers": {}}
    for one in field.turns(number):
        answer["servers"][one.name] = {
            str(c): field.load(one, closed_order(one, model, c, 2 * seconds)) for c in (32, 64)
        }
    for tier, orders in found.items():
        console.print(
            f"  texts, in-process {tier}: " + ", ".join(f"by {k} {v['rows_s']:.1f}" for k, v in orders.items())
        )
    for name, at in answer["servers"].items():
        console.print(
            f"  texts, {name}: "
            + ", ".join(f"{c}: {f['calls_s']:.1f}/s padded {f.get('padding', float('nan')):.2f}" for c, f in at.items())
        )
    return answer


def mixed(field: Field, models: list[str], number: int, seconds: float) -> Figures:
    """Two models at once, 32 callers each, beside each alone: the share of its own rate that each keeps."""
    answer: Figures = {}
    for one in field.turns(number):
        alone = [field.load(one, closed_order(one, model, 32, seconds))["calls_s"] for model in models]
        groups = [[f"{one.name} {model}", 32] for model in models]
        order = {"kind": "closed", "protocol": one.protocol, "groups": groups, "seconds": seconds}
        figures = field.load(one, order)
        if not all(alone):
            console.print(f"  mixed: {one.name} answered nobody in {seconds:g} s")
            continue
        shares = [group["calls_s"] / rate for group, rate in zip(figures["groups"], alone, strict=True)]
        answer[one.name] = {"alone": dict(zip(models, alone, strict=True)), "shares": shares, **figures}
        console.print(
            f"  mixed: {one.name} keeps " + ", ".join(f"{s:.2f} of {m}" for s, m in zip(shares, models, strict=True))
        )
    return answer
