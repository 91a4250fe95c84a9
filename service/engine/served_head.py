"""A fine-tuned head on a loaded base: the `LoadedModel` of a version whose network is another model's.

A head has a card, a task with labels of its own, and a name for the metrics. Admission, queue and lanes are the base's, so that
requests of all heads on a base, and of the base itself, share batches. A head belongs to one load of the base: when the base is
loaded again, its heads are served again. Rows inside a head count as rows inside the base, which waits for them before it closes.
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
from service.engine.check_record import CheckRecord
from service.engine.served_model import OnOutcome, ServedModel
from service.engine.tier_report import TierReport
from service.errors import QueueFull
from service.observability.recorder import Recorder
from service.runtime.heads import PooledHead
from service.runtime.network import Runtime
from service.scheduler.pending_result import OnDone
from service.scheduler.policy import BatchLimits
from service.scheduler.queued_row import Arrival
from service.scheduler.scheduler import Submission
from service.tasks.base import Task
from service.types import Array, Item, Tensors


class HeadRunner:
    """Runs a head's rows of a batch and counts them under the tuned model's name. Called in a lane."""

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


class ServedHead:
    """One loaded version whose network is a base's; see `LoadedModel`. Belongs to the event loop."""

    reference: Sequence[Tensors] | None = None
    """None: no other runtime replaces that of a head."""

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
        self.on_outcome: OnOutcome | None = None
        """Called with every request that ended, while traffic is split between two versions."""
        self._runner = HeadRunner(card.name, version, head, recorder)
        self._idle = asyncio.Event()
        self._idle.set()
        alike = type(task).preprocess is type(base.task).preprocess and card.recipe == base.card.recipe
        self._preparer: ServedModel | None = base if alike else None

    # ── what requests need ────────────────────────────────────────────────────────────────────────────────────

    @property
    def preparer(self) -> ServedModel | ServedHead:
        """The base, where it preprocesses in exactly the same way. See `LoadedModel`."""
        return self._preparer or self

    def full(self) -> QueueFull | None:
        """See `LoadedModel`."""
        return self.base.full(1, self.name)

    def admit(self, rows: int, deadline: float = math.inf, priority: int = 0, length: float | None = None) -> None:
        """See `LoadedModel`. The rows of all heads on a base, and its own, count together."""
        self.base.admit(rows, deadline, priority, length, self.name)
        self.rows_in_flight += rows
        self._idle.clear()

    def release(self, rows: int) -> None:
        """See `LoadedModel`."""
        self.base.release(rows)
        self.rows_in_flight -= rows
        if not self.rows_in_flight:
            self._idle.set()

    def effective_deadline(self, deadline: float, priority: int) -> float:
        """See `LoadedModel`."""
        return self.base.effective_deadline(deadline, priority)

    def preprocessing_begins(self, effective_deadline: float, rows: int) -> None:
        """See `LoadedModel`. One bound holds for a base and all its heads."""
        self.base.preprocessing_begins(effective_deadline, rows)

    def preprocessing_ends(self, effective_deadline: float, rows: int) -> None:
        """See `LoadedModel`."""
        self.base.preprocessing_ends(effective_deadline, rows)

    async def acquire_permit(self, effective_deadline: float) -> None:
        """See `LoadedModel`."""
        await self.base.acquire_permit(effective_deadline)

    def release_permit(self) -> None:
        """See `LoadedModel`."""
        self.base.release_permit()

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        on_done: OnDone | None = None,
        arrival: Arrival | None = None,
    ) -> Submission:
        """Queues rows beside the base's; this head answers them. See `LoadedModel`."""
        runner = self._runner
        own = [Item(item.tensors, item.length, item.notes, runner) for item in items]
        return self.base.submit(own, deadline, priority, on_done, arrival)

    def observe_reply_delay(self, seconds: float) -> None:
        """See `LoadedModel`."""
        self.base.observe_reply_delay(seconds)

    def observe_outcome(self, fault: bool, seconds: float) -> None:
        """See `LoadedModel`."""
        if self.on_outcome is not None:
            self.on_outcome(fault, seconds)

    # ── what its owners need ──────────────────────────────────────────────────────────────────────────────────

    @property
    def runtime(self) -> Runtime:
        """The runtime of the backbone."""
        return self.base.runtime

    @property
    def tier_report(self) -> TierReport | None:
        """Outcome of making the backbone faster."""
        return self.base.tier_report

    @property
    def tiers_pending(self) -> bool:
        """Whether another tier of the backbone is still to be tried."""
        return self.base.tiers_pending

    @property
    def queue_depth(self) -> int:
        """Rows that wait for the device, for the base and all its heads."""
        return self.base.queue_depth

    def set_limits(self, limits: BatchLimits) -> None:
        """Only the default timeout is a head's own; batches and queue are the base's."""
        self.limits = replace(self.limits, default_timeout_s=limits.default_timeout_s)

    async def idle(self) -> None:
        """Returns when no row of this head is in flight, if only for a moment."""
        await self._idle.wait()

    async def close(self) -> None:
        """Waits for the rows in flight. The caller admits no request any more."""
        await self._idle.wait()


Served = ServedModel | ServedHead
"""The loaded version, as the registry owns it."""
