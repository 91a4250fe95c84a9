"""The load client, in a process of its own: it sends load to a server and reports rates, latencies and errors.

    python -m benchmarks.load.client      one command a JSON line in, one answer a JSON line out, until standard input ends

Messages are bytes that were made beforehand, and replies are not parsed, so that the client takes little of the cores that it
shares with the server. Every answer holds the cores that it took, as `client_cores`.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.load import arrivals, http2_stream, mlperf
from benchmarks.load.calls import STREAM, Call, connect

LONGEST_WAIT_S = 60.0
LEAST_FOR_P999 = 1000
"""A p99.9 of fewer latencies would be their maximum."""
WARM_UP = 0.1
"""Share of a measurement's time that the warm-up takes before it."""


async def closed(
    protocol: str, target: str, groups: Sequence[tuple[list[bytes], int]], seconds: float
) -> dict[str, Any]:
    """Callers that each send the next call when the last is answered: `concurrency` callers for each group of messages.

    Returns calls a second and latencies in milliseconds, by group and over all.
    """
    latencies: list[list[float]] = [[] for _ in groups]
    done, errors = [0] * len(groups), Counter[str]()
    began = time.perf_counter() + WARM_UP * seconds
    end = began + seconds

    async def caller(call: Call, group: int, turns: itertools.count[int]) -> None:
        messages = groups[group][0]
        while (start := time.perf_counter()) < end:
            error = await call(messages[next(turns) % len(messages)], None)
            if error:
                errors[error] += 1
                await asyncio.sleep(0.01)  # do not flood a server that refuses
                continue
            now = time.perf_counter()
            # Counted whenever the call began: the window cuts off as many calls at its end as it adds at its start.
            done[group] += began <= now <= end
            if start >= began:
                latencies[group].append(now - start)

    async with connect(protocol, target) as call:
        callers = []
        for group, (_, concurrency) in enumerate(groups):
            turns = itertools.count()
            callers += [caller(call, group, turns) for _ in range(concurrency)]
        await asyncio.gather(*callers)
    answer: dict[str, Any] = {"calls_s": sum(done) / seconds, **_quantiles(list(itertools.chain(*latencies)))}
    answer["groups"] = [{"calls_s": n / seconds, **_quantiles(times)} for n, times in zip(done, latencies, strict=True)]
    return {**answer, "errors": dict(errors)}


async def open_loop(
    protocol: str,
    target: str,
    messages: list[bytes],
    rate: float,
    seconds: float,
    seed: int,
    deadline_ms: float | None = None,
) -> dict[str, Any]:
    """Calls at Poisson times, whether or not earlier calls are answered. A call is good if its answer arrives by the deadline.

    Latencies count from the time at which a call was due, so that neither a client that falls behind nor a server that stalls
    hides a wait. Without a deadline a call that fails, or has no answer after LONGEST_WAIT_S, has an infinite latency. With one
    the latencies are those of the answers.
    """
    within = LONGEST_WAIT_S if deadline_ms is None else deadline_ms / 1000.0
    times = arrivals.poisson(rate, seconds, seed)
    errors, latencies, lags = Counter[str](), list[float](), list[float]()

    async def one(call: Call, due: float, message: bytes) -> None:
        lag = time.perf_counter() - due
        lags.append(lag)
        left = within - lag
        error = await call(message, left) if left > 0 else "CLIENT_LATE"
        if error:
            errors[error] += 1
            if deadline_ms is None:
                latencies.append(float("inf"))
        else:
            latencies.append(time.perf_counter() - due)

    async with connect(protocol, target) as call:
        await asyncio.gather(*(call(messages[i % len(messages)], None) for i in range(4)))  # opens the connections
        began = time.perf_counter() + 0.05
        tasks = set()
        for number, at in enumerate(times):
            due = began + float(at)
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.add(asyncio.create_task(one(call, due, messages[number % len(messages)])))
            if number % 64 == 0:
                tasks = {task for task in tasks if not task.done()}
        await asyncio.gather(*tasks)
    good = sum(latency <= within for latency in latencies)
    lag = _quantiles(lags)
    answer = {
        "offered": len(times),
        "offered_s": len(times) / seconds,
        "good_s": good / seconds,
        "good_share": good / max(1, len(times)),
    }
    return {**answer, **_quantiles(latencies), "client_lag_p99_ms": lag["p99_ms"], "errors": dict(errors)}


async def streams(target: str, messages: list[bytes], count: int, window: int, seconds: float) -> dict[str, Any]:
    """`count` streams of ModelStreamInfer, each with `window` requests in flight."""
    began = time.perf_counter() + WARM_UP * seconds
    end = began + seconds
    counts = await asyncio.gather(
        *(http2_stream.stream(target, STREAM, messages, window, began, end) for _ in range(count))
    )
    return {
        "calls_s": sum(done for done, _ in counts) / seconds,
        "errors": dict(sum((e for _, e in counts), Counter())),
    }


def _quantiles(latencies_s: Sequence[float]) -> dict[str, float]:
    if not len(latencies_s):
        return {"p50_ms": float("inf"), "p99_ms": float("inf")}
    ordered = np.sort(latencies_s) * 1000.0
    # The nearest rank, since interpolation between infinite latencies is undefined.
    found = {name: float(ordered[math.ceil(at * len(ordered)) - 1]) for name, at in (("p50_ms", 0.5), ("p99_ms", 0.99))}
    if len(ordered) >= LEAST_FOR_P999:
        found["p999_ms"] = float(ordered[math.ceil(0.999 * len(ordered)) - 1])
    return found


async def _run(command: dict[str, Any], messages: dict[str, list[bytes]]) -> dict[str, Any]:
    kind = command.pop("kind")
    if kind == "closed":
        groups = [(messages[key], concurrency) for key, concurrency in command.pop("groups")]
        return await closed(groups=groups, **command)
    key = command.pop("messages")
    if kind == "open":
        return await open_loop(messages=messages[key], **command)
    if kind == "mlperf":
        return await mlperf.server_scenario(messages=messages[key], **command)
    return await streams(messages=messages[key], **command)


def main() -> None:
    """The command line."""
    messages: dict[str, list[bytes]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if command["kind"] == "keep":
            messages[command["key"]] = [base64.b64decode(text) for text in command["messages"]]
            print("{}", flush=True)
            continue
        cpu, began = time.process_time(), time.perf_counter()
        answer = asyncio.run(_run(command, messages))
        answer["client_cores"] = (time.process_time() - cpu) / (time.perf_counter() - began)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
