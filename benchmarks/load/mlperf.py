"""MLPerf's own load generator in its Server scenario, around calls of the client (PyPI `mlcommons-loadgen`).

LoadGen draws the Poisson times, issues each query from a thread of its own, and judges the run by its rules: the percentile of
the latency, and early stopping, which demands more queries the nearer the bound is. Queries go to the client's event loop. The
outcomes are counted here, since LoadGen records the time of an answer and not whether it was an error.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.calls import connect

LEAST_QUERIES = 500
"""LoadGen's early stopping needs at least 459 queries to judge a p99."""
SLACK = 1.5
"""The longest run ÷ the mean time of `least` queries."""


def available() -> bool:
    """Whether LoadGen is installed."""
    return importlib.util.find_spec("mlperf_loadgen") is not None


async def server_scenario(
    protocol: str,
    target: str,
    messages: Sequence[bytes],
    rate: float,
    seconds: float,
    seed: int,
    deadline_ms: float,
    least: int = LEAST_QUERIES,
) -> dict[str, Any]:
    """One run at `rate` a second under a p99 bound of `deadline_ms`. `valid` is LoadGen's verdict on the run."""
    lg: Any = importlib.import_module("mlperf_loadgen")
    loop = asyncio.get_running_loop()
    errors, answered = Counter[str](), 0

    async with connect(protocol, target) as call:

        async def one(number: int, index: int) -> None:
            nonlocal answered
            error = await call(messages[index % len(messages)], deadline_ms / 1000.0)
            if error:
                errors[error] += 1
                await asyncio.sleep(
                    deadline_ms / 1000.0
                )  # LoadGen does not know failures: a failed query counts as late
            answered += not error
            lg.QuerySamplesComplete([lg.QuerySampleResponse(number, 0, 0)])

        def issue(queries: Sequence[Any]) -> None:
            for query in queries:
                asyncio.run_coroutine_threadsafe(one(query.id, query.index), loop)

        settings = lg.TestSettings()
        settings.scenario, settings.mode = lg.TestScenario.Server, lg.TestMode.PerformanceOnly
        settings.server_target_qps = rate
        settings.server_target_latency_ns = round(deadline_ms * 1e6)
        settings.server_target_latency_percentile = 0.99
        settings.min_duration_ms = round(1000 * seconds)
        # LoadGen calls a run that ends before `least` queries invalid, however fast the answers were.
        settings.max_duration_ms = round(1000 * max(4 * seconds, SLACK * least / rate))
        settings.min_query_count = least
        settings.schedule_rng_seed = settings.sample_index_rng_seed = settings.qsl_rng_seed = seed
        with tempfile.TemporaryDirectory(prefix="zoo-bench-mlperf-") as folder:
            summary = await asyncio.to_thread(_run, lg, settings, issue, len(messages), folder)
    total = answered + sum(errors.values())
    return {
        "valid": summary.get("Result is") == "VALID",
        "good_share": answered / max(1, total),
        "offered": total,
        "completed_s": _number(summary, "Completed samples per second"),
        "p50_ms": _number(summary, "50.00 percentile latency (ns)") / 1e6,
        "p99_ms": _number(summary, "99.00 percentile latency (ns)") / 1e6,
        "errors": dict(errors),
    }


def _run(lg: Any, settings: Any, issue: Any, samples: int, folder: str) -> dict[str, str]:
    """Run LoadGen, blocking, and return the summary that it writes."""
    system = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(samples, samples, lambda _: None, lambda _: None)
    output = lg.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = folder, False
    log = lg.LogSettings()
    log.log_output, log.enable_trace = output, False
    try:
        lg.StartTestWithLogSettings(system, library, settings, log, "")
    finally:
        lg.DestroyQSL(library)
        lg.DestroySUT(system)
    return summary_of((Path(folder) / "mlperf_log_summary.txt").read_text())


def summary_of(text: str) -> dict[str, str]:
    """The `name : value` lines of LoadGen's summary."""
    pairs = (
        line.split(" : ", 1) if " : " in line else line.split(": ", 1) for line in text.splitlines() if ": " in line
    )
    return {name.strip(): value.strip() for name, value in pairs}


def _number(summary: dict[str, str], name: str) -> float:
    return float(summary.get(name, "nan"))
