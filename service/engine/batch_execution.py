"""How one loaded model runs a batch: collate the rows, run the network, split its outputs. Called in the device's lanes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from model_zoo.errors import panics_as_errors
from service.engine.head_dispatch import split_outputs
from service.engine.runtime_handle import RuntimeHandle
from service.engine.tier_report import TierReport
from service.errors import OutOfMemory, ZooError
from service.observability.recorder import Recorder
from service.runtime.network import Runtime
from service.runtime.oom import is_out_of_memory
from service.runtime.padding import padded_length
from service.tasks.base import Task
from service.types import BatchReport, Item, Row


class BatchExecution:
    """Runs the batches of one loaded model. It knows neither the model's queue nor its requests, so that no reference cycle keeps
    an unloaded network in memory."""

    def __init__(self, name: str, version: int, task: Task, runtime: Runtime, recorder: Recorder) -> None:
        """`name` and `version` label the metrics."""
        self.handle = RuntimeHandle(runtime)
        self.tier_report: TierReport | None = None
        """Outcome of making the model faster, once that was tried. Replaced by the event loop, read by lanes."""
        self.tiers_pending = False
        """Whether another tier is still to be tried. Written by the event loop and the tiering thread, read by any."""
        self._name = name
        self._version = version
        self._task = task
        self._recorder = recorder

    def run(self, items: Sequence[Item], predicted_s: float | None = None) -> list[Row | ZooError]:
        """Runs one batch; gives a row or an error for each item, in order. See `scheduler.batch_runner.Execute`.

        Rows that cannot be one batch (`Task.groups`) run one group after another."""
        groups = self._task.groups(items)
        with panics_as_errors(), self.handle.borrow() as runtime:  # another runtime may replace it meanwhile
            if len(groups) == 1:
                return self._run_in(runtime, items, predicted_s)
            rows: dict[int, Row | ZooError] = {}
            for group in groups:
                rows |= zip(group, self._run_in(runtime, [items[i] for i in group], None), strict=True)
            return [rows[i] for i in range(len(items))]

    def _run_in(self, runtime: Runtime, items: Sequence[Item], predicted_s: float | None) -> list[Row | ZooError]:
        started = time.monotonic()
        try:
            tensors, padding_ratio = self._task.collate(items, self._least_length(items))
            collated = time.monotonic()
            outputs = runtime.run(tensors)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory from None
        executed = time.monotonic()
        rows = split_outputs(self._task, outputs, items)
        finished = time.monotonic()
        self._recorder.batch_executed(
            self._name,
            self._version,
            runtime.device,
            len(items),
            padding_ratio,
            collated - started,
            executed - collated,
            finished - executed,
            predicted_s,
        )
        lane, network = threading.current_thread().name, (runtime.device, runtime.precision)
        report = BatchReport(started, finished, len(items), padding_ratio, *network, lane, runtime.tier)
        return [row if isinstance(row, ZooError) else Row(row, report) for row in rows]

    def _least_length(self, items: Sequence[Item]) -> int:
        """The length that rows are padded to at least; 0 for none. The tier may have just changed: any length is right in any."""
        report = self.tier_report
        if report is None or report.tier != "compiled" or not report.length_step:
            return 0
        return padded_length(max(item.length for item in items), self._task.card.batching.max_length)
