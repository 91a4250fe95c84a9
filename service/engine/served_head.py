"""A fine-tuned head on a loaded base: what a request meets in place of a ServedModel.

It has a card, a task with labels of its own, and a name for the metrics; door, queue and lanes are the base's, so that calls
of all heads on a base, and of the base itself, ride in one batch. It belongs to one load of the base: when the base comes
back after it went, its heads are served anew. Whoever is inside a head is inside the base, which therefore waits for them
before it goes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.engine.admission import PendingRows, PrioritySemaphore
from service.engine.check_record import CheckRecord
from service.engine.served_model import ServedModel, Watch
from service.engine.tier_report import TierReport
from service.observability.recorder import Recorder
from service.runtime.heads import PooledHead
from service.runtime.network import Runtime
from service.scheduler.pending_result import Told
from service.scheduler.policy import BatchLimits
from service.scheduler.queued_row import Arrival
from service.scheduler.scheduler import Submission
from service.tasks.base import Task
from service.types import Array, Item, Tensors


class HeadRunner:
    """A head in a batch: runs it and counts its rows under the tuned model's name."""

    def __init__(self, name: str, version: int, head: PooledHead, recorder: Recorder) -> None:
        self.name = name
        self._version = version
        self._head = head
        self._recorder = recorder

    def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
        """See `PooledHead.run`."""
        began = time.monotonic()
        outputs = self._head.run(features, items)
        self._recorder.head_executed(self.name, self._version, len(items), time.monotonic() - began)
        return outputs


class HeadServed:
    """One loaded version whose network is a base's. Lives on the event loop."""

    reference: Sequence[Tensors] | None = None
    """Nothing takes the place of a head."""

    def __init__(
        self,
        card: Card,
        version: int,
        task: Task,
        head: PooledHead,
        base: ServedModel,
        limits: BatchLimits,
        recorder: Recorder,
        golden: Callable[[], Sequence[GoldenItem]] = tuple,
        record: CheckRecord | None = None,
    ) -> None:
        """`golden` reads the head's golden items; `record` has its held-out examples."""
        self.card = card
        self.golden = golden
        self.record = record or CheckRecord(None)
        self.name = card.name
        self.version = version
        self.task = task
        self.head = head
        self.base = base
        self.limits = limits
        self.rows_in_flight = 0
        self.watch: Watch | None = None
        """Told of every call that ended, while traffic is split between two versions."""
        self._rider = HeadRunner(card.name, version, head, recorder)
        self._empty = asyncio.Event()
        self._empty.set()
        same = type(task).preprocess is type(base.task).preprocess and card.recipe == base.card.recipe
        self._preparer: ServedModel | None = base if same else None

    @property
    def preparer(self) -> ServedModel | HeadServed:
        """Whose preprocessing a call shares with others: the base's, where it would do exactly the same."""
        return self._preparer or self

    @property
    def runtime(self) -> Runtime:
        """What runs the backbone."""
        return self.base.runtime

    @property
    def evidence(self) -> TierReport | None:
        """Of making the backbone faster."""
        return self.base.evidence

    @property
    def room(self) -> PrioritySemaphore:
        """The base's: what is prepared for a hundred heads is bounded as what is prepared for one."""
        return self.base.room

    @property
    def coming(self) -> PendingRows:
        """The base's."""
        return self.base.coming

    @property
    def queue_depth(self) -> int:
        """Rows that wait for the device, for the base and all its heads."""
        return self.base.queue_depth

    def enter(self, rows: int, deadline: float = math.inf, priority: int = 0, length: float | None = None) -> None:
        """As of the base; what all its heads have inside counts together."""
        self.base.enter(rows, deadline, priority, length, self.name)
        self.rows_in_flight += rows
        self._empty.clear()

    def leave(self, rows: int) -> None:
        """A request that entered is answered or gone."""
        self.base.leave(rows)
        self.rows_in_flight -= rows
        if not self.rows_in_flight:
            self._empty.set()

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        told: Told | None = None,
        came: Arrival | None = None,
    ) -> Submission:
        """Queues rows with the base's; each is answered by this head."""
        rider = self._rider
        riding = [Item(item.tensors, item.length, item.notes, rider) for item in items]
        return self.base.submit(riding, deadline, priority, told, came)

    def claim(self, deadline: float, priority: int) -> float:
        """As of the base."""
        return self.base.claim(deadline, priority)

    def replied(self, seconds: float) -> None:
        """How long after its batch had ended a call went on."""
        self.base.replied(seconds)

    def set_limits(self, limits: BatchLimits) -> None:
        """Only the default timeout is a head's own; batches and queue are the base's."""
        self.limits = replace(self.limits, default_timeout_s=limits.default_timeout_s)

    async def idle(self) -> None:
        """Returns once nobody is inside, if only for a moment."""
        await self._empty.wait()

    async def close(self) -> None:
        """Waits for those inside. Nobody may be admitted any more."""
        await self._empty.wait()


Served = ServedModel | HeadServed
"""What answers for a version."""
