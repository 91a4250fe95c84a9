"""From a card to a network that has proved itself: fetch, build, warm up, check. Blocking; runs in the loader's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from model_zoo.card import Card
from model_zoo.errors import SourceUnavailable, ZooModelError
from model_zoo.network import load_network
from model_zoo.store import Materialised, Progress, Store
from service.errors import InternalError, NotReady
from service.observability.log import logger
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Answer, Instance, Item, Options

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network on its device, warmed up and checked."""

    task: Task
    runtime: NetworkRuntime
    load_s: float


class Loads(Protocol):
    """What the registry asks of a loader."""

    def load(self, card: Card) -> Loaded:
        """Blocks until the card's network is ready to run, or raises NotReady."""


class Loader:
    """Loads cards onto one device."""

    def __init__(self, store: Store, device: str, offline: bool, progress: Callable[[str], Progress]) -> None:
        """`progress(model)` gives the callback for a download's progress. `offline` forbids downloads."""
        self._store = store
        self._device = device
        self._offline = offline
        self._progress = progress

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
            _warm_up(task, runtime)
            problem = golden_problem(task, runtime)
            if problem is not None:
                raise NotReady(f"the golden check failed: {problem}")
            return Loaded(task, runtime, time.monotonic() - started)
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

    def _mend(self, card: Card) -> Materialised:
        """Files that would not load: reads all of them, throws away what is not as it was published, and fetches it anew."""
        try:
            self._store.verify(card)
        except ZooModelError as error:
            log.warning("the stored files are damaged and made anew", model=card.name, reason=str(error))
        return self._materialise(card)


def _warm_up(task: Task, runtime: NetworkRuntime) -> None:
    """The first runs allocate and choose kernels; no caller should wait for that."""
    for rows in (1, 2):
        runtime.run(task.collate([task.warmup_item()] * rows)[0])


def golden_problem(task: Task, runtime: NetworkRuntime) -> str | None:
    """Runs the card's golden cases through task and network. What is wrong, with figures; None if nothing is."""
    for number, case in enumerate(task.card.golden):
        answers = {text: _answer(task, runtime, task.text_instance(text)) for text in task.golden_texts(case.expect)}
        answer = _answer(task, runtime, task.golden_instance(case.input))
        problem = task.golden_problem(case.expect, answer, answers)
        if problem is not None:
            return f"case {number + 1} of {len(task.card.golden)}: {problem}"
    return None


def _answer(task: Task, runtime: NetworkRuntime, instance: Instance) -> Answer:
    (item,) = task.preprocess([instance], ["golden"])
    if not isinstance(item, Item):
        raise InternalError from item
    (row,) = task.split(runtime.run(task.collate([item])[0]), [item])
    return task.postprocess(row, item, Options())
