"""Zoo, in the configurations that are measured: `zoo`, as shipped, `zoo-eager`, and `zoo-openvino`, without another compiler."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
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
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "zoo": {},
    "zoo-eager": EAGER,
    "zoo-openvino": {"CXX": "no-such-compiler"},
}
"""By configuration. AOTInductor needs a C++ compiler. A home has its earlier output, so `zoo-openvino` has a home of its own."""
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
        own_home: bool = False,
    ) -> None:
        """`command` replaces `zoo serve`; it must write the same log events. With `own_home` the server has a new home with the
        weights of `home`."""
        self._own_home = new_home(home) if own_home else None
        self.name, self.home = name, Path(self._own_home.name) if self._own_home else home
        self.settings = dict(settings)
        environment = {"ZOO_HOME": str(self.home), "ZOO_OFFLINE": "1", "ZOO_LOG_FORMAT": "json", **settings}
        zoo = str(Path(sys.executable).with_name("zoo"))
        chosen = [part for model in models for part in ("--model", model)]
        serve = [zoo, "serve", "--port", "0", "--http-port", "0", *chosen]
        super().__init__(command or serve, environment, log=name)
        self.http_port = self._wait_until_ready()
        self.models = list(models)

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        if self._own_home:
            self._own_home.cleanup()

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
            if all(map(settled, tiers.values())):
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
    """Start a configuration of SETTINGS. Raises ParticipantFailed."""
    if name not in SETTINGS:
        raise ParticipantFailed(f"there is no configuration {name}")
    return Zoo(name, models, home, SETTINGS[name], own_home=name == "zoo-openvino")


def new_home(home: Path) -> tempfile.TemporaryDirectory[str]:
    """A temporary home with the weights of another and nothing else, as hard links where the file system allows them."""
    folder = tempfile.TemporaryDirectory(prefix="zoo-bench-home-", dir=home.parent)

    def link(old: str, new: str) -> None:
        try:
            os.link(old, new)
        except OSError:
            shutil.copy2(old, new)

    shutil.copytree(home / "weights", Path(folder.name) / "weights", symlinks=True, copy_function=link)
    return folder


def settled(tier: Mapping[str, str]) -> bool:
    """Whether a server has tried all candidates for a model, by the model's tier parameters."""
    return tier.get("tier_state") == "final"
