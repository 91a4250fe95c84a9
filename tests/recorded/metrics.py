"""Readings of /metrics, and what changed between two."""

from __future__ import annotations

import re
from typing import Any

from tests.recorded.server import Server

SAMPLE = re.compile(r"^(zoo_\w+?)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

TIMES = {"zoo_device_busy_seconds_total"}
SUMS = {"zoo_batch_size_sum", "zoo_batch_padding_ratio_sum"}
BUCKETS = {"zoo_batch_size_bucket"}
BATCHES = re.compile(r"^zoo_(batch_|predicted_execute_)")
GAUGES = {"zoo_queue_depth", "zoo_in_flight_requests", "zoo_model_state", "zoo_jobs", "zoo_model_tier"}
"""Gauges whose value is a state. Others are measurements."""


class Scrape:
    """One reading."""

    def __init__(self, text: str) -> None:
        self.types = dict(re.findall(r"^# TYPE (zoo_\w+) (\w+)$", text, re.MULTILINE))
        self.samples: dict[str, float] = {}
        self.labels: dict[str, set[str]] = {name: set() for name in self.types}
        for line in text.splitlines():
            found = SAMPLE.match(line)
            if found is None or found[1].endswith("_created"):
                continue
            labels = sorted(LABEL.findall(found[2] or ""))
            shown = ",".join(f"{key}={value}" for key, value in labels)
            self.samples[f"{found[1]}{{{shown}}}"] = float(found[3])
            for name in self.types:
                if found[1] in (name, f"{name}_bucket", f"{name}_count", f"{name}_sum", f"{name}_total"):
                    self.labels[name] |= {key for key, _ in labels}

    @classmethod
    def settled(cls, server: Server) -> Scrape:
        """A reading at rest: nothing is in flight, and two readings in a row count the same."""
        before = cls(server.get("/metrics"))
        while True:
            now = cls(server.get("/metrics"))
            flying = (value for name, value in now.samples.items() if name.startswith("zoo_in_flight_requests"))
            if now._counted() == before._counted() and not any(flying):
                return now
            before = now

    def value(self, name: str, **labels: str) -> float:
        """Sum of the series of that name with these labels."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        return sum(
            value for at, value in self.samples.items() if at.startswith(f"{name}{{") and all(w in at for w in wanted)
        )

    def since(self, before: Scrape, batches: bool = True) -> dict[str, Any]:
        """Counters and counts that grew, and gauges of state that changed."""
        was, now = before._counted(), self._counted()
        grown = {name: value - was.get(name, 0.0) for name, value in now.items() if value != was.get(name, 0.0)}
        if not batches:
            grown = {name: value for name, value in grown.items() if not BATCHES.match(name)}
        gauges = {
            name: self.samples.get(name)
            for name in self.samples.keys() | before.samples.keys()
            if name.partition("{")[0] in GAUGES and self.samples.get(name) != before.samples.get(name)
        }
        return {"grown": dict(sorted(grown.items())), "gauges": dict(sorted(gauges.items()))}

    def _counted(self) -> dict[str, float]:
        found = {}
        for at, value in self.samples.items():
            name = at.partition("{")[0]
            if name in TIMES:
                continue
            if name.endswith(("_total", "_count")) or name in SUMS | BUCKETS:
                found[at] = value
        return found
