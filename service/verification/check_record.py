"""What can be measured of a tuned version's decisions, and what was: its held-out examples, and the figures that servers noted.

The version's folder names the held-out examples and keeps what the network gave for them in fp32; the examples themselves are
read from the data set. Figures are noted by tier, precision and machine, so that a restart or another version of the same head
measures nothing twice. All methods block: never on the event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import ZooModelError
from model_zoo.golden.held_out import HeldOut, read_held_out
from model_zoo.version_folder import Version
from model_zoo.versions import Versions
from service.datasets.dataset import Examples
from service.datasets.examples import open_dataset
from service.errors import ZooError
from service.observability.log import logger
from service.runtime.environment import environment
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.decisions import (
    BOUNDS,
    Decisions,
    decides,
    judge,
)

log = logger(__name__)

FEWEST = 2
"""Held-out examples of which something can be said."""


class Trial:
    """Held-out examples on their way through a runtime. Answers are added in any order."""

    def __init__(self, task: Task, held_out: HeldOut, examples: Examples) -> None:
        self._task = task
        self._held_out = held_out
        self._examples = examples
        self._output = task.card.signature.outputs[0].name
        self._answers: dict[int, NDArray[np.float32]] = {}

    def batches(self, rows: int) -> Iterator[tuple[list[int], list[Item]]]:
        """The examples as items, at most `rows` at a time, with their numbers. One that cannot be read is left out."""
        count = len(self._held_out.indices)
        for start in range(0, count, rows):
            numbers = range(start, min(start + rows, count))
            some = [self._examples[int(self._held_out.indices[n])] for n in numbers]
            outcomes = self._task.preprocess([e.instance for e in some], [e.origin for e in some])
            found = [(n, item) for n, item in zip(numbers, outcomes, strict=True) if isinstance(item, Item)]
            if found:
                yield [n for n, _ in found], [item for _, item in found]

    def add(self, number: int, row: Tensors) -> None:
        """What the runtime answered to an example."""
        self._answers[number] = np.asarray(row[self._output], np.float32).ravel()

    def decisions(self, runs: str) -> Decisions | None:
        """The figures; None where too few examples could be read."""
        if len(self._answers) < FEWEST:
            return None
        numbers = sorted(self._answers)
        outputs = np.stack([self._answers[n] for n in numbers])
        held_out = self._held_out
        return judge(self._task.card, runs, held_out.outputs[numbers], outputs, held_out.targets[numbers])


class CheckRecord:
    """The held-out examples and the noted figures of one version."""

    def __init__(self, version: Version | None) -> None:
        """`version` is None for a model of the zoo, of which nothing is known. Reads nothing."""
        self._version = version

    def noted(self, key: str) -> Decisions | None:
        """What was noted under a key; None where nothing was, or it cannot be read."""
        version = self._version
        if version is None:
            return None
        document = Versions(version.home).checks(version.model, version.number).get(key)
        if document is None:
            return None
        with contextlib.suppress(ValueError):
            return Decisions.model_validate(document)
        return None

    def all_noted(self) -> list[Decisions]:
        """Everything that was noted, the latest last."""
        version = self._version
        found: list[Decisions] = []
        for document in (
            () if version is None else Versions(version.home).checks(version.model, version.number).values()
        ):
            with contextlib.suppress(ValueError):
                found.append(Decisions.model_validate(document))
        return found

    def note(self, key: str, decisions: Decisions) -> None:
        """Keeps figures. A disk that does not take them costs a measurement at the next start, no more."""
        version = self._version
        if version is None:
            return
        try:
            Versions(version.home).record_check(version.model, version.number, key, decisions.model_dump(mode="json"))
        except ZooModelError as error:
            log.warning("a check could not be noted", model=version.model, version=version.number, reason=str(error))

    def trial(self, task: Task) -> Trial | None:
        """The version's held-out examples; None where there are none (any more), or its task decides nothing."""
        version = self._version
        if version is None or not decides(task.card):
            return None
        try:
            held_out = read_held_out(version.model, version.held_out)
            if held_out is None or len(held_out.indices) < FEWEST:
                return None
            examples = open_dataset(version.home, held_out.dataset)
            if int(held_out.indices.max()) >= len(examples) or int(held_out.indices.min()) < 0:
                return None
        except (ZooError, ZooModelError):  # deleted since, or damaged
            return None
        except Exception:  # a damaged data set fails in as many ways as there are readers
            log.exception("held-out examples cannot be read", model=version.model, version=version.number)
            return None
        return Trial(task, held_out, examples)


def runs_as(runtime: Runtime) -> str:
    """Tier and precision of a runtime, as people read it: `compiled bf16`."""
    return f"{runtime.tier} {runtime.precision}".strip()


def key_of(runtime: Runtime) -> str:
    """What figures hold for: how a network runs, in which numbers, where, and by which bounds they were judged."""
    return f"{runs_as(runtime)} on {runtime.device} of {environment()}, bounds {BOUNDS}"
