"""Servicer of `zoo.v1.FineTuning`."""

from __future__ import annotations

from service.datasets.store import DatasetStore
from service.jobs.supervisor import Jobs
from service.wire.datasets import DatasetCalls
from service.wire.jobs import JobCalls
from service.wire.stopping import Stopping


class FineTuningServicer(DatasetCalls, JobCalls):
    """Stores datasets, and jobs that tune models on them."""

    def __init__(self, datasets: DatasetStore, jobs: Jobs) -> None:
        self._datasets = datasets
        self._jobs = jobs
        self._stopping = Stopping()

    def stop(self) -> None:
        """Ends uploads and watchers with UNAVAILABLE; they go on at the server's successor. Before the gRPC server stops."""
        self._stopping.set()
