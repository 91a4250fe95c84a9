"""The scenarios with callers that wait: each measures all servers in one round and returns a part of the report."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.load import perf_analyzer
from benchmarks.measurement.plan import Selection
from benchmarks.measurement.testbed import Testbed, console, with_server_figures
from benchmarks.participants.process import ParticipantFailed
from benchmarks.participants.server import Server
from benchmarks.paths import LOGS

PERF_CALLERS = 32
PERF_FACTOR = 1.5
"""perf_analyzer warms up within its first window, so it gets more time."""
LIMIT_OF = {"zoo": "best", "zoo-eager": "eager"}
"""The in-process limit that has the network of a server."""

Figures = dict[str, Any]


def closed_command(server: Server, model: str, concurrency: int, seconds: float) -> Figures:
    """A command for callers that wait for their answers."""
    groups = [[f"{server.name} {model}", concurrency]]
    return {"kind": "closed", "protocol": server.protocol, "groups": groups, "seconds": seconds}


def closed(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """Closed loop at each concurrency, and the rate of the in-process limits: at their best batch size, and at the size that the
    servers reached with 32 callers (`reached`)."""
    limits: Figures = {tier: testbed.limit(partial(limit.rate, seconds)) for tier, limit in testbed.limits.items()}
    answer: Figures = {"limits": limits, "servers": {}, "reached": {}}
    for server in testbed.each_server(round_number, chosen.servers):
        at = answer["servers"][server.name] = {
            str(c): testbed.load(server, closed_command(server, model, c, seconds))
            for c in chosen.callers_of(server.name)
        }
        limit = testbed.limits.get(LIMIT_OF.get(server.name, ""))
        if limit and (rows := at.get("32", {}).get("batch_rows")):
            whole = max(1, round(rows))
            answer["reached"][server.name] = {"rows": whole, **testbed.limit(partial(limit.rate_of, whole, seconds))}
    line = ", ".join(f"limit {tier} {rate['rows_s']:.1f}" for tier, rate in limits.items())
    for name, at in answer["servers"].items():
        line += f"\n    {name}: " + ", ".join(f"{c}: {f['calls_s']:.1f}/s {f['p99_ms']:.0f} ms" for c, f in at.items())
    console.print(f"  closed loop: {line}")
    return answer


def raw(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """The in-process limits with decoding: encoded photos or sounds through decoding, preprocessing and the network."""
    answer: Figures = {"limits": {}}
    for tier, limit in testbed.limits.items():
        best = limit.raw_best
        answer["limits"][tier] = {
            **testbed.limit(partial(limit.raw, seconds)),
            **{key: best[key] for key in ("arrangement", "rows", "lanes")},
        }
    answer["servers"] = {
        one.name: {
            str(c): testbed.load(one, closed_command(one, model, c, seconds)) for c in chosen.callers_of(one.name)
        }
        for one in testbed.each_server(round_number, chosen.servers)
    }
    for name, at in answer["servers"].items():
        console.print(f"  raw: {name} " + ", ".join(f"{c}: {f['calls_s']:.1f}/s" for c, f in at.items()))
    console.print("  raw, in-process: " + ", ".join(f"{t} {f['rows_s']:.1f}/s" for t, f in answer["limits"].items()))
    return answer


def perf(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """The closed loop at 32 callers with NVIDIA's perf_analyzer as the client."""
    answer: Figures = {}
    for one in testbed.each_server(round_number, chosen.servers):
        messages = testbed.messages[one.name, model]
        log = LOGS / f"perf-analyzer-{one.name}.log"
        load = partial(perf_analyzer.closed, one.target, model, messages, PERF_CALLERS, PERF_FACTOR * seconds, log)
        try:
            answer[one.name] = testbed.sentinel.guard(partial(with_server_figures, one, load))
        except ParticipantFailed as error:
            testbed.record["absent"]["perf_analyzer"] = str(error)
            console.print(f"  [yellow]without perf_analyzer[/]: {str(error).splitlines()[0]}")
            return answer
        console.print(f"  perf_analyzer: {one.name} {answer[one.name]['calls_s']:.1f}/s")
    return answer


def lengths(testbed: Testbed, model: str, round_number: int, seconds: float, chosen: Selection) -> Figures:
    """Texts of lengths as in reviews: through the servers, beside in-process batching in arrival order and by length."""
    limits = {
        tier: {order: testbed.limit(partial(limit.texts, order, seconds)) for order in ("arrival", "length")}
        for tier, limit in testbed.limits.items()
    }
    answer: Figures = {"limits": limits, "servers": {}}
    for one in testbed.each_server(round_number, chosen.servers):
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


def mixed(testbed: Testbed, models: list[str], round_number: int, seconds: float, chosen: Selection) -> Figures:
    """Two models at once, 32 callers each, beside each alone: the share of its own rate that each keeps."""
    answer: Figures = {}
    for one in testbed.each_server(round_number, chosen.servers):
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
