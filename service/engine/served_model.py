"""One loaded version of a model: its task, its runtime, its queue on the device, and the admission of its rows."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.engine.admission import PreprocessAdmission
from service.engine.batch_execution import BatchExecution
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.engine.tier_report import TierReport
from service.errors import QueueFull, TooLate
from service.observability.recorder import Recorder
from service.runtime.network import Runtime
from service.scheduler.pending_result import OnDone
from service.scheduler.policy import LEAST_RETRY_S, BatchLimits
from service.scheduler.queued_row import Arrival
from service.scheduler.scheduler import DeviceScheduler, ScheduledNetwork, Submission
from service.tasks.base import Task
from service.types import Item, Tensors

PREPARED_AHEAD = 4
"""Batches. A decoded photo or recording is many times its file, so at most these are preprocessed at once for a model. Requests
over the limit wait undecoded."""

REPLY_DELAYS, LARGEST_RESERVE = 3.0, 0.2
"""A row must be done this many usual reply delays before its deadline: the rest of the way, through gRPC and to the caller, takes
about as long, and not always the usual time. The reserve is at most this share of the time that is left."""

OnOutcome = Callable[[bool, float], None]
"""Gets whether a request failed by a fault of the version, and how many seconds it took."""

UNKNOWN_SECONDS_A_ROW = 0.01
"""For the hint that QueueFull carries while no batch has run."""


class ServedModel:
    """A loaded version with a network of its own; see `LoadedModel`. Belongs to the event loop."""

    def __init__(
        self,
        card: Card,
        version: int,
        task: Task,
        runtime: Runtime,
        limits: BatchLimits,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        reference: Sequence[Tensors] | None = None,
        golden: Callable[[], Sequence[GoldenItem]] = tuple,
        *,
        name: str = "",
        record: CheckRecord | None = None,
    ) -> None:
        """`golden` reads the golden items of a tuned version; `record` has its held-out examples. `name`: where the model is
        served under another name than the card's."""
        self.card = card
        self.name = name or card.name
        self.record = record or CheckRecord(None)
        self.version = version
        self.task = task
        self.reference = reference
        """The network's outputs for the probes in fp32; None where no other runtime may replace it."""
        self.note = ""
        """Why it runs otherwise than its options say; empty where it does not."""
        self.decisions: Decisions | None = None
        """How a tuned version decides on the present runtime, against fp32; None where that was not measured, or it runs in
        fp32."""
        self.golden = golden
        self.on_outcome: OnOutcome | None = None
        """Called with every request that ended, while traffic is split between two versions."""
        self.limits = limits
        self.rows_in_flight = 0
        self.preprocess = PreprocessAdmission(PREPARED_AHEAD * limits.max_batch_size)
        self._scheduler = scheduler
        self._idle = asyncio.Event()
        self._idle.set()
        self._reply_delay_s = (
            0.0  # from the end of a batch to where its requests go on: the event loop serves others meanwhile
        )
        self._execution = BatchExecution(self.name, version, task, runtime, recorder)
        self._network: ScheduledNetwork = scheduler.add(
            self.name, version, limits, self._execution.run, variable_length=card.batching.length_of is not None
        )
        self._network.use_cost(_cost_key(runtime))

    # ── what requests need ────────────────────────────────────────────────────────────────────────────────────

    @property
    def preparer(self) -> ServedModel:
        """Itself. See `LoadedModel`."""
        return self

    def full(self, rows: int = 1, name: str = "") -> QueueFull | None:
        """See `LoadedModel`. `name`: as for `admit`."""
        over = self.rows_in_flight + rows - self.limits.max_queue_size
        if over <= 0 or not self.rows_in_flight:
            return None
        return QueueFull(name or self.name, self.rows_in_flight, self.limits.max_queue_size, self._seconds_for(over))

    def admit(
        self, rows: int, deadline: float = math.inf, priority: int = 0, length: float | None = None, name: str = ""
    ) -> None:
        """See `LoadedModel`. A request larger than the whole limit is admitted when no other is inside: it is split into
        batches. `name`: of the head on this network that was asked for."""
        full = self.full(rows, name)
        if full is not None:
            raise full
        pending = self.preprocess.pending
        before = pending.count_before(self.effective_deadline(deadline, priority)) if pending else 0
        retry_after_s = self._network.refuse(rows, self._device_deadline(deadline), priority, before, length)
        if retry_after_s is not None:
            raise TooLate(retry_after_s if retry_after_s < math.inf else None)
        self.rows_in_flight += rows
        self._idle.clear()

    def effective_deadline(self, deadline: float, priority: int) -> float:
        """See `LoadedModel`."""
        return self._network.effective_deadline(self._device_deadline(deadline), priority)

    def release(self, rows: int) -> None:
        """See `LoadedModel`."""
        self.rows_in_flight -= rows
        if not self.rows_in_flight:
            self._idle.set()

    def preprocessing_begins(self, effective_deadline: float, rows: int) -> None:
        """See `LoadedModel`."""
        self.preprocess.pending.add(effective_deadline, rows)

    def preprocessing_ends(self, effective_deadline: float, rows: int) -> None:
        """See `LoadedModel`."""
        self.preprocess.pending.remove(effective_deadline, rows)

    async def acquire_permit(self, effective_deadline: float) -> None:
        """See `LoadedModel`."""
        await self.preprocess.permits.acquire(effective_deadline)

    def release_permit(self) -> None:
        """See `LoadedModel`."""
        self.preprocess.permits.release()

    def submit(
        self,
        items: Sequence[Item],
        deadline: float,
        priority: int = 0,
        on_done: OnDone | None = None,
        arrival: Arrival | None = None,
    ) -> Submission:
        """See `LoadedModel`."""
        return self._network.submit(items, self._device_deadline(deadline), priority, on_done, arrival)

    def observe_reply_delay(self, seconds: float) -> None:
        """See `LoadedModel`."""
        self._reply_delay_s += (seconds - self._reply_delay_s) / 32

    def observe_outcome(self, fault: bool, seconds: float) -> None:
        """See `LoadedModel`."""
        if self.on_outcome is not None:
            self.on_outcome(fault, seconds)

    def _device_deadline(self, deadline: float) -> float:
        """When the device must be done so that the answer reaches its caller by the deadline."""
        left_s = deadline - time.monotonic()
        return deadline - min(REPLY_DELAYS * self._reply_delay_s, LARGEST_RESERVE * left_s) if left_s > 0 else deadline

    def _seconds_for(self, rows: int) -> float:
        """In about how many seconds so many rows are done."""
        return max(LEAST_RETRY_S, rows * (self._network.seconds_a_row or UNKNOWN_SECONDS_A_ROW))

    # ── what its owners need ──────────────────────────────────────────────────────────────────────────────────

    @property
    def runtime(self) -> Runtime:
        """The runtime of the next batch."""
        return self._execution.handle.current

    @property
    def tier_report(self) -> TierReport | None:
        """Outcome of making it faster, once that was tried."""
        return self._execution.tier_report

    @tier_report.setter
    def tier_report(self, report: TierReport | None) -> None:
        self._execution.tier_report = report

    @property
    def tiers_pending(self) -> bool:
        """Whether another tier is still to be tried."""
        return self._execution.tiers_pending

    @tiers_pending.setter
    def tiers_pending(self, pending: bool) -> None:
        self._execution.tiers_pending = pending

    def use(self, runtime: Runtime) -> None:
        """The next batches run in `runtime`, and its costs are learned apart. The old runtime is freed when the batches that
        run in it have ended."""
        self._execution.handle.swap(runtime)
        self._network.use_cost(_cost_key(runtime))

    def learn(self, rows: int, length: int, seconds: float) -> None:
        """Teaches the cost what a batch took in warming up, so that the first requests meet a prediction."""
        self._network.learn(rows, length, seconds)

    @property
    def queue_depth(self) -> int:
        """Rows that wait for the device."""
        return self._network.depth

    def set_limits(self, limits: BatchLimits) -> None:
        """New limits for requests that arrive from now on; those that were admitted stay."""
        self.limits = limits
        self.preprocess.permits.resize(PREPARED_AHEAD * limits.max_batch_size)
        self._network.set_limits(limits)

    async def idle(self) -> None:
        """Returns when no row is in flight, if only for a moment."""
        await self._idle.wait()

    async def close(self) -> None:
        """Waits for the rows in flight, then closes the queue. The caller admits no request any more, and frees the runtime."""
        await self._idle.wait()
        self._scheduler.remove(self._network)


def _cost_key(runtime: Runtime) -> tuple[str, str, str]:
    """Costs hold for one way of running a network in one precision."""
    return runtime.tier, runtime.compiler, runtime.precision
