"""From a card to a network that has proved itself: fetch, build, warm up, check. Blocking; runs in the loader's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from model_zoo.card import Card
from model_zoo.errors import SourceUnavailable, ZooModelError
from model_zoo.network import Network, load_network
from model_zoo.store import Materialised, Progress, Store
from service.errors import InternalError, NotReady
from service.observability.log import logger
from service.registry.probes import Runs, alone, closeness_problem, compare, invariance_problem, probe_items
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Answer, Instance, Item, Options, Tensors

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network on its device, warmed up and checked."""

    task: Task
    runtime: NetworkRuntime
    load_s: float
    reference: Sequence[Tensors] | None = None
    """What it answers to each of the probes in fp32, alone: the measure of whatever may run in its place."""
    timings: Sequence[tuple[int, int, float]] = ()
    """Rows, length and seconds of batches that ran in warming up: the first that is known of its cost."""


class Loads(Protocol):
    """What the registry asks of a loader."""

    def load(self, card: Card) -> Loaded:
        """Blocks until the card's network is ready to run, or raises NotReady."""


class Loader:
    """Loads cards onto one device."""

    def __init__(
        self,
        store: Store,
        device: str,
        offline: bool,
        progress: Callable[[str], Progress],
        precision: Callable[[str], str] = lambda model: "auto",
    ) -> None:
        """`progress(model)` gives the callback for a download's progress. `offline` forbids downloads. `precision(model)` says in
        which one a model must run; `auto` begins in fp32."""
        self._store = store
        self._device = device
        self._offline = offline
        self._progress = progress
        self._precision = precision

    def load(self, card: Card) -> Loaded:
        """Raises NotReady with a reason fit for a client."""
        try:
            materialised = self._materialise(card)
            started = time.monotonic()
            try:
                task, network = task_for(card, materialised), load_network(card, materialised)
            except Exception:  # a damaged file fails in as many ways as there are readers; a sound one is our mistake
                materialised = self._mend(card)
                task, network = task_for(card, materialised), load_network(card, materialised)
            runtime = NetworkRuntime(network, self._device)
            timings = _warm_up(task, runtime)
            problem = golden_problem(task, runtime)
            if problem is not None:
                raise NotReady(f"the golden check failed: {problem}")
            items = probe_items(task)
            reference = alone(task, runtime, items)
            problem = invariance_problem(task, runtime, reference, items)
            if problem is not None:
                raise NotReady(f"the batch-invariance check failed: {problem}")
            precision = self._precision(card.name)
            if precision not in ("auto", "fp32"):
                runtime, timings = self._reduced(task, network, precision, reference, items), []  # those were of fp32
            return Loaded(task, runtime, time.monotonic() - started, reference, timings)
        except NotReady:
            raise
        except SourceUnavailable as error:  # its reason names hosts and quotes foreign texts
            log.error("weights could not be fetched", model=card.name, reason=str(error))
            raise NotReady("its weights could not be fetched; the server's log says why") from error
        except ZooModelError as error:
            raise NotReady(str(error)) from error
        except Exception as error:
            log.exception("loading failed", model=card.name)
            raise NotReady("loading failed; the server's log has the details") from error

    def _materialise(self, card: Card) -> Materialised:
        found = self._store.find(card)
        if found is not None:
            return found
        if self._offline:
            raise NotReady(f"its weights are not on this machine and the server is offline; run `zoo pull {card.name}`")
        return self._store.materialise(card, self._progress(card.name))

    def _reduced(
        self, task: Task, network: Network, precision: str, reference: Sequence[Tensors], items: Sequence[Item]
    ) -> NetworkRuntime:
        """The network in the precision that it must run in, near enough to fp32. Raises NotReady."""
        runtime = NetworkRuntime(network, self._device, precision)
        _warm_up(task, runtime)
        rows = min(len(items), task.card.batching.max_batch_size)
        problem = closeness_problem(task.card, precision, compare(task, runtime, reference, items, rows))
        if problem is not None:
            raise NotReady(f"it cannot run in {precision}: {problem}")
        return runtime

    def _mend(self, card: Card) -> Materialised:
        """Files that would not load: reads all of them, throws away what is not as it was published, and fetches it anew."""
        try:
            self._store.verify(card)
        except ZooModelError as error:
            log.warning("the stored files are damaged and made anew", model=card.name, reason=str(error))
        return self._materialise(card)


def _warm_up(task: Task, runtime: Runs) -> list[tuple[int, int, float]]:
    """The first runs allocate and choose kernels; no caller should wait for that. Gives rows, length, seconds of those after."""
    item = task.warmup_item()
    timings = []
    for rows in (1, 2):
        for attempt in range(3):
            started = time.monotonic()
            task.split(runtime.run(task.collate([item] * rows)[0]), [item] * rows)
            if attempt:
                timings.append((rows, item.length, time.monotonic() - started))
    return timings


def golden_problem(task: Task, runtime: Runs) -> str | None:
    """Runs the card's golden cases through task and network. What is wrong, with figures; None if nothing is."""
    for number, case in enumerate(task.card.golden):
        answers = {text: _answer(task, runtime, task.text_instance(text)) for text in task.golden_texts(case.expect)}
        answer = _answer(task, runtime, task.golden_instance(case.input))
        problem = task.golden_problem(case.expect, answer, answers)
        if problem is not None:
            return f"case {number + 1} of {len(task.card.golden)}: {problem}"
    return None


def _answer(task: Task, runtime: Runs, instance: Instance) -> Answer:
    (item,) = task.preprocess([instance], ["golden"])
    if not isinstance(item, Item):
        raise InternalError from item
    (row,) = task.split(runtime.run(task.collate([item])[0]), [item])
    return task.postprocess(row, item, Options())
