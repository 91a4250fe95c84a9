"""The interface of a loaded model: all that the request pipeline needs of it, and the one seam between `inference/` and a device.

A request is admitted, submits its rows, gets a row or an error for each of them, and releases what it was admitted with. The
pipeline sees no runtime, no queue and no check record; an implementation may live in another process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from model_zoo.cards.card import Card
from service.errors import QueueFull, ZooError
from service.scheduler.pending_result import OnDone
from service.scheduler.policy import BatchLimits
from service.scheduler.queued_row import Arrival
from service.tasks.base import Task
from service.types import Item, Row


class SubmittedRows(Protocol):
    """Rows of one request between their submission and their outcomes."""

    async def result(self) -> Sequence[Row | ZooError]:
        """One outcome for each row, in order. Cancelling the wait drops rows that have not started."""

    def cancel(self) -> None:
        """The caller has left: rows that have not started do not run, and `on_done` is not called."""


class LoadedModel(Protocol):
    """One loaded version of a model. All methods belong to the event loop; none of them blocks."""

    @property
    def name(self) -> str:
        """The model's name in metrics and replies."""

    @property
    def version(self) -> int:
        """The version's number."""

    @property
    def card(self) -> Card:
        """Describes the model's inputs and outputs."""

    @property
    def task(self) -> Task:
        """Preprocessing and postprocessing."""

    @property
    def limits(self) -> BatchLimits:
        """Bounds of its queue, and the default timeout of requests."""

    @property
    def preparer(self) -> LoadedModel:
        """The model whose preprocessing batches a request joins: itself, or its base where the base prepares alike."""

    def preprocessing_begins(self, effective_deadline: float, rows: int) -> None:
        """So many rows were admitted that are preprocessed before they are submitted."""

    def preprocessing_ends(self, effective_deadline: float, rows: int) -> None:
        """So many of these rows are submitted now, or never will be."""

    async def acquire_permit(self, effective_deadline: float) -> None:
        """Waits for its turn to preprocess a part of a request. The caller must `release_permit` once the part is answered."""

    def release_permit(self) -> None:
        """A part is answered, or never will be."""

    def full(self) -> QueueFull | None:
        """Why a request of one row would not be admitted now; None where its queue has room. From any thread."""

    def admit(self, rows: int, deadline: float = math.inf, priority: int = 0, length: float | None = None) -> None:
        """Counts a request of `rows` in. Raises QueueFull; raises TooLate where the work ahead leaves it no time.

        The caller must `release` the same number of rows. `length`: mean length of a row, where that is known.
        """

    def release(self, rows: int) -> None:
        """A request that was admitted is answered or gone."""

    def effective_deadline(self, deadline: float, priority: int) -> float:
        """The key by which rows that arrive now are ordered, from before their preprocessing until they run."""

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        on_done: OnDone | None = None,
        arrival: Arrival | None = None,
    ) -> SubmittedRows:
        """Queues rows for the device. `priority`: 1 (first) to 9 (last), 0 for the default.

        `on_done` gets all outcomes in place of `result()`. `arrival`: when their request arrived and its effective deadline,
        for rows that were preprocessed first.
        """

    def observe_reply_delay(self, seconds: float) -> None:
        """How long after the end of its batch a request went on: the event loop serves others meanwhile."""

    def observe_outcome(self, fault: bool, seconds: float) -> None:
        """A request ended after `seconds`. `fault`: the version broke, not the caller."""


class LoadedModels(Protocol):
    """Finds the loaded version that answers for a name."""

    def resolve(self, name: str, version: str = "") -> LoadedModel:
        """The version that answers now. Raises NotFound and NotReady."""

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> LoadedModel:
        """As `resolve`; waits where the request itself causes a load. Raises NotFound, NotReady, MemoryFull, DeadlineExceeded."""

    def splits(self, name: str) -> bool:
        """Whether requests without a version are shared between two versions; each of them may be resolved only once."""


__all__ = ["Arrival", "LoadedModel", "LoadedModels", "OnDone", "SubmittedRows"]
