"""The in-process limit of a case: the process that runs it, at the best of its settings."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from benchmarks.load import inputs
from benchmarks.measurement.plan import Plan
from benchmarks.participants.process import ParticipantFailed, Process, start_module
from service.settings import usable_cores

SWEEP_S, RAW_SWEEP_S, QUICK_S = 1.5, 1.0, 0.2
COSTS_S = 1.0
COMPILERS = ("openvino", "aotinductor")
"""The tier `best` runs the network of the compiler with the higher rate, as the server does."""


class InProcessLimit:
    """A network in-process, in one tier. One process sweeps the settings; a fresh one measures, so that its peak is a
    script's."""

    def __init__(self, model: str, tier: str, plan: Plan) -> None:
        """`tier`: eager or best. Raises ParticipantFailed if no network of the tier runs here."""
        self._model, self._plan = model, plan
        found: dict[str, dict[str, Any]] = {}
        reasons = []
        for compiler in COMPILERS if tier == "best" else (tier,):
            try:
                with self._start(compiler) as sweeping:
                    found[compiler] = sweeping.ask({"do": "sweep", "seconds": self._length(SWEEP_S)})
            except ParticipantFailed as error:
                reasons.append(f"{compiler}: {error}")
        if not found:
            raise ParticipantFailed("; ".join(reasons))
        self._network = max(found, key=lambda compiler: found[compiler]["rows_s"])
        self.best = {**found[self._network], "network": self._network}
        self.process = self._start(self._network)
        self._settings = {"rows": self.best["rows"], "lanes": self.best["lanes"]}

    def rate(self, seconds: float) -> dict[str, Any]:
        """Rows a second at the best settings."""
        return self.process.ask({"do": "rate", **self._settings, "seconds": seconds})

    def rate_of(self, rows: int, seconds: float) -> dict[str, Any]:
        """Rows a second of batches of a given size."""
        return self.process.ask({"do": "rate", **self._settings, "rows": rows, "seconds": seconds})

    def raw(self, seconds: float) -> dict[str, Any]:
        """Inputs a second with decoding and preprocessing, in the best arrangement of threads."""
        settings = {key: self.raw_best[key] for key in ("arrangement", "rows", "lanes")}
        return self.process.ask({"do": "raw", **settings, "seconds": seconds})

    @cached_property
    def raw_best(self) -> dict[str, Any]:
        """The best arrangement, from a sweep in a process of its own."""
        with self._start(self._network) as sweeping:
            return sweeping.ask({"do": "sweep_raw", "seconds": self._length(RAW_SWEEP_S)})

    def costs(self) -> dict[str, Any]:
        """Times of batches by their rows; see `in_process.InProcessNetwork.costs`."""
        return self.process.ask({"do": "costs", "lanes": self.best["lanes"], "seconds": self._length(COSTS_S)})

    def texts(self, order: str, seconds: float) -> dict[str, Any]:
        """Texts of different lengths; see `in_process.InProcessNetwork.texts`."""
        texts = {"count": inputs.REVIEWS, "seed": inputs.SEED}
        return self.process.ask({"do": "texts", "order": order, **self._settings, "seconds": seconds, **texts})

    def _start(self, network: str) -> Process:
        home, cores = str(self._plan.home), str(usable_cores())
        return start_module("participants.in_process", self._model, home, cores, network)

    def _length(self, seconds: float) -> float:
        return QUICK_S if self._plan.quick else seconds
