"""Tracks a job's metrics beside the event log: in TensorBoard event files, and in MLflow if the order names a server."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.training.job_spec import WorkOrder
from service.training.protocol import Metric

TENSORBOARD = "tensorboard"
"""Folder of the event files, in the job's folder."""
EXPERIMENT = "zoo"
MAX_PARAMETER_CHARACTERS = 250
MLFLOW_WAIT_S, MLFLOW_RETRIES = "5", "1"
"""A tracking server that does not answer must not delay a job for long."""
MAX_FLOAT32 = 3.4e38
"""TensorBoard stores values in 32 bits."""

log = logging.getLogger(__name__)


class Tracker:
    """Writes metrics to its targets. It never fails a job: a target that fails is reported once in the worker's log, and then not
    used."""

    def __init__(self, order: WorkOrder, folder: Path) -> None:
        self._targets: list[Callable[[Metric], None]] = []
        self._closers: list[Callable[[], None]] = []
        self._try("TensorBoard", lambda: self._open_tensorboard(folder / TENSORBOARD))
        if order.mlflow_uri:
            self._try("MLflow", lambda: self._open_mlflow(order))

    def metric(self, metric: Metric) -> None:
        """Writes a metric to all targets, unless it is not finite."""
        if not math.isfinite(metric.value):
            return
        for target in tuple(self._targets):
            try:
                target(metric)
            except Exception:
                self._targets.remove(target)
                log.warning("a tracking target has failed and is not used any more", exc_info=True)

    def close(self) -> None:
        """Flushes and closes all targets. Later metrics are dropped."""
        closers, self._closers, self._targets = self._closers, [], []
        for closer in closers:
            self._try("tracking", closer)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            log.warning("%s cannot be used; the job continues without it", what, exc_info=True)

    def _open_tensorboard(self, folder: Path) -> None:
        # TensorBoard's own writer: the import of torch's wrapper takes two seconds longer.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(folder), flush_secs=5)

        def write(metric: Metric) -> None:
            if abs(metric.value) > MAX_FLOAT32:  # TensorBoard would show it as infinite
                return
            value = Summary.Value(tag=f"{metric.name}/{metric.split}", simple_value=metric.value)
            writer.add_event(Event(wall_time=time.time(), step=metric.step, summary=Summary(value=[value])))

        self._targets.append(write)
        self._closers.append(writer.close)

    def _open_mlflow(self, order: WorkOrder) -> None:
        # MLflow reads these when it is used.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", MLFLOW_WAIT_S)
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", MLFLOW_RETRIES)
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=order.mlflow_uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
        run = client.create_run(experiment, run_name=order.spec.display_name or f"{order.spec.model}-{order.job_id}")
        run_id = run.info.run_id
        spec = order.spec
        parameters: dict[str, Any] = {
            "base": spec.base,
            "dataset_id": spec.dataset_id,
            "task": spec.task,
            "method": spec.method.value,
            "seed": spec.seed,
            **spec.hyperparameters,
        }
        logged = [Param(name, str(value)[:MAX_PARAMETER_CHARACTERS]) for name, value in parameters.items()]
        tags = [RunTag("zoo.job_id", order.job_id), RunTag("zoo.model", spec.model)]
        if order.traceparent:
            tags.append(RunTag("traceparent", order.traceparent))
        client.log_batch(run_id, params=logged, tags=tags)

        def write(metric: Metric) -> None:
            client.log_metric(run_id, f"{metric.split}/{metric.name}", metric.value, step=metric.step)

        self._targets.append(write)
        self._closers.append(lambda: client.set_terminated(run_id))
