"""Zoo, in the two configurations that are measured: `zoo-eager` and `zoo`, as shipped."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.participants.process import ParticipantFailed
from benchmarks.participants.server import OPTIONS, Server
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc

EAGER = {"ZOO_OPTIMIZE": "off", "ZOO_PRECISION": "fp32"}
TIER_S = 900.0
"""Longest wait for the compiled tier. It takes about a minute a network the first time, and seconds from the cache."""
PROCESSES_S = 60.0
"""Longest wait until eager networks run in processes of their own; it takes some seconds."""


class Zoo(Server):
    """`zoo serve` on free ports."""

    def __init__(
        self,
        name: str,
        models: Sequence[str],
        home: Path,
        settings: Mapping[str, str],
        command: Sequence[str] = (),
    ) -> None:
        """`command` replaces `zoo serve`; it must write the same log events."""
        self.name, self.home = name, home
        self.settings = dict(settings)
        environment = {"ZOO_HOME": str(home), "ZOO_OFFLINE": "1", "ZOO_LOG_FORMAT": "json", **settings}
        zoo = str(Path(sys.executable).with_name("zoo"))
        chosen = [part for model in models for part in ("--model", model)]
        serve = [zoo, "serve", "--port", "0", "--http-port", "0", *chosen]
        super().__init__(command or serve, environment, log=name)
        self.http_port = self._wait_until_ready()
        self.models = list(models)

    def _wait_until_ready(self) -> int:
        self.wait_until(self._is_ready, self.name)
        live = next(event for event in self.log_events() if event.get("event") == "live")
        self.target = f"127.0.0.1:{live['grpc_port']}"
        return int(live["http_port"])

    def _is_ready(self) -> bool:
        events = {event.get("event") for event in self.log_events()}
        if "no model could be loaded" in events:
            raise ParticipantFailed(f"{self.name} loaded no model:\n{self.log_tail()}")
        return "ready" in events

    def settle(self, timeout_s: float = TIER_S) -> dict[str, dict[str, str]]:
        """Wait until each model runs in its final tier, and return the tier parameters of its configuration.

        A server that names no tier, or is not done in time, is measured as it is; `note` holds the reason.
        """
        end = time.monotonic() + timeout_s
        while True:
            tiers = {model: self._tier(model) for model in self.models}
            if all(_settled(tier) for tier in tiers.values()):
                return tiers
            if not all(tiers.values()):
                return {model: {"note": "this server names no tier"} for model in self.models}
            if time.monotonic() > end:
                return {model: {**tier, "note": f"not settled in {timeout_s:.0f} s"} for model, tier in tiers.items()}
            time.sleep(1.0)

    def wait_for_processes(self, timeout_s: float = PROCESSES_S) -> dict[str, dict[str, str]]:
        """Wait until each eager network runs in processes of its own, if it is to; return the tier parameters."""
        end = time.monotonic() + timeout_s
        while True:
            tiers = {model: self._tier(model) for model in self.models}
            if all("tier_processes" in tier for tier in tiers.values()) or time.monotonic() > end:
                return tiers
            time.sleep(0.5)

    def _tier(self, model: str) -> dict[str, str]:
        with grpc.insecure_channel(self.target, OPTIONS) as channel:
            stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            parameters = stub.ModelConfig(pb.ModelConfigRequest(name=model), timeout=30).config.parameters
        return {key: value.string_value for key, value in parameters.items() if key.startswith("tier")}

    def counters(self) -> dict[str, float]:
        """Batches, rows, and the sum of the padded shares of the batches, over all models."""
        if not self.http_port:
            return {}
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.http_port}/metrics", timeout=30) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        names = {
            "batches": "zoo_batch_size_count",
            "rows": "zoo_batch_size_sum",
            "padding": "zoo_batch_padding_ratio_sum",
        }
        return {key: sum(s.value for s in samples if s.name == name) for key, name in names.items()}


def start_zoo(name: str, models: Sequence[str], home: Path) -> Zoo:
    """Start `zoo-eager`, whose networks run as those of the other servers, or `zoo`, as shipped. Raises ParticipantFailed."""
    if name not in ("zoo", "zoo-eager"):
        raise ParticipantFailed(f"there is no configuration {name}")
    return Zoo(name, models, home, EAGER if name == "zoo-eager" else {})


PENDING = "it waits for the compiler"
"""The reason that a server gives for a model whose candidate tiers are not all tried."""


def _settled(tier: Mapping[str, str]) -> bool:
    if tier.get("tier") == "compiled":
        return True
    last = not tier.get("tier_candidate", "").endswith("bf16")  # fp32 is tried after it
    return last and tier.get("tier_reason", PENDING) != PENDING
