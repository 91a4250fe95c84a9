"""The scenarios of the simulation: networks on a device, and their requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulation.profiles import DEVICES, Device, Network
from benchmarks.simulation.request_load import Load, Stream, draw

LOADS = (0.2, 0.5, 0.8, 0.95, 1.1, 1.5, 2.0, 2.5)
"""Offered work ÷ capacity of the device in full batches without padding."""

TIGHT, LOOSE = 3.0, 20.0
"""Deadlines in turns; a turn is the time of a full batch of the slowest network of the scenario, of its usual length."""
DEADLINES = {"tight": (TIGHT,), "loose": (LOOSE,), "mixed": (TIGHT, LOOSE), "none": (math.inf,)}

CYCLE_TURNS = 40.0
"""Mean length of a burst and the calm after it, in turns."""

SAMPLE = 20_000
"""Number of lengths that are drawn for the mean cost of a stream's rows."""


@dataclass(frozen=True)
class Scenario:
    """A device and its traffic."""

    name: str
    about: str
    device: str
    networks: tuple[str, ...]
    work: tuple[float, ...]
    """Share of the work (device seconds) of each network."""
    deadlines: str
    pattern: str = "poisson"
    weights: tuple[float, ...] = ()
    """Scheduling weights; all 1 if empty."""

    @property
    def on(self) -> Device:
        """The device."""
        return DEVICES[self.device]

    @property
    def profiles(self) -> list[Network]:
        """The networks."""
        return [self.on[name] for name in self.networks]

    @property
    def weight(self) -> Sequence[float]:
        """Of each network."""
        return self.weights or tuple(1.0 for _ in self.networks)

    @property
    def turn_s(self) -> float:
        """Time of a full batch of the slowest network."""
        return max(network.full_s for network in self.profiles)

    @property
    def within_s(self) -> tuple[float, ...]:
        """The deadlines after arrival."""
        return tuple(turns * self.turn_s for turns in DEADLINES[self.deadlines])

    def _stretch(self, network: Network) -> float:
        return 1.0 if self.device == "cpu" or not network.varies else 384 / 200

    @property
    def mean_s(self) -> list[float]:
        """Device seconds of a row of each network at its best."""
        means = []
        for network in self.profiles:
            alone = Stream(1.0, (math.inf,), network.varies, self._stretch(network))
            lengths = draw([alone], 1.0, SAMPLE if network.varies else 1, seed=0).length
            means.append(sum(network.best_s(int(length)) for length in lengths) / len(lengths))
        return means

    @property
    def capacity(self) -> float:
        """Requests a second that keep all lanes busy, in full batches without padding."""
        return self.on.lanes / sum(part * mean for part, mean in zip(self._shares, self.mean_s, strict=True))

    @property
    def _shares(self) -> list[float]:
        rates = [part / mean for part, mean in zip(self.work, self.mean_s, strict=True)]
        return [rate / sum(rates) for rate in rates]

    def load(self, load: float, turns: float, seed: int) -> Load:
        """Requests at `load` × capacity, for `turns` turns on average."""
        streams = [
            Stream(share, self.within_s, network.varies, self._stretch(network))
            for share, network in zip(self._shares, self.profiles, strict=True)
        ]
        cycle_s = CYCLE_TURNS * self.turn_s
        rate = load * self.capacity
        requests = max(1, round(rate * turns * self.turn_s))
        return draw(streams, rate, requests, seed, pattern=self.pattern, cycle_s=cycle_s)


CPU_FIVE = ("image", "image-eager", "text", "text-eager", "sound")
A100_FIVE = ("bert-base", "bert-base-int8", "bert-large", "bert-large-int8", "resnet50")
EVEN = (0.2,) * 5

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("cpu-image-tight", "images, tight deadlines", "cpu", ("image",), (1.0,), "tight"),
        Scenario("cpu-image-bursty", "images in bursts, loose deadlines", "cpu", ("image",), (1.0,), "loose", "bursty"),
        Scenario("cpu-image-none", "images, no deadlines", "cpu", ("image",), (1.0,), "none"),
        Scenario("cpu-text-mixed", "texts of unlike lengths, mixed deadlines", "cpu", ("text",), (1.0,), "mixed"),
        Scenario("cpu-text-tight", "texts of unlike lengths, tight deadlines", "cpu", ("text",), (1.0,), "tight"),
        Scenario(
            "cpu-two-bursty",
            "images and texts in bursts, mixed deadlines",
            "cpu",
            ("image", "text"),
            (0.5, 0.5),
            "mixed",
            "bursty",
        ),
        Scenario(
            "cpu-two-weights",
            "images and texts, mixed deadlines, weights 3 to 1",
            "cpu",
            ("image", "text"),
            (0.5, 0.5),
            "mixed",
            weights=(3.0, 1.0),
        ),
        Scenario(
            "cpu-hog",
            "images with nine tenths of the work, texts with one; tight deadlines",
            "cpu",
            ("image", "text"),
            (0.9, 0.1),
            "tight",
        ),
        Scenario("cpu-five-mixed", "five networks, mixed deadlines", "cpu", CPU_FIVE, EVEN, "mixed"),
        Scenario(
            "a100-bert-tight", "BERT Base, lengths to 384, tight deadlines", "a100", ("bert-base",), (1.0,), "tight"
        ),
        Scenario(
            "a100-resnet-bursty",
            "ResNet-50 in bursts, loose deadlines",
            "a100",
            ("resnet50",),
            (1.0,),
            "loose",
            "bursty",
        ),
        Scenario("a100-five-mixed", "five networks, mixed deadlines", "a100", A100_FIVE, EVEN, "mixed"),
    )
}
