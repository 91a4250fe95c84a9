"""The reason why a job failed, as one sentence for the user. The worker's log has the exception behind it."""

from __future__ import annotations

import errno
from pathlib import Path

from model_zoo.errors import ZooModelError
from model_zoo.strict_json import NotFinite
from service.datasets.dataset import dataset_folder
from service.disk import FullDisk, full_disk
from service.errors import ZooError
from service.training.job_spec import WorkOrder

DISK_FULL = FullDisk.HOME.value
OUT_OF_MEMORY = "out of memory; a smaller batch_size, or a smaller base, may fit"


class Diverged(Exception):
    """Training diverged. `reason` names the step and what showed it."""

    def __init__(self, step: int, observed: str, last_good: int) -> None:
        """`last_good`: the step of the best checkpoint."""
        self.reason = (
            f"training diverged at step {step}: {observed}; a lower learning_rate may help; "
            f"the checkpoint of step {last_good} is the last good one and is kept"
        )
        super().__init__(self.reason)


class CannotTrain(Exception):
    """The data and the hyperparameters do not fit each other. `reason` is written for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def failure_reason(error: BaseException, order: WorkOrder | None) -> str:
    """The reason that the user reads: without paths, traces and the texts of foreign exceptions."""
    if isinstance(error, Diverged | CannotTrain):
        return error.reason
    if (full := full_disk(error, Path("/") if order is None else order.home)) is not None:
        return full.value
    if _out_of_memory(error):
        return OUT_OF_MEMORY
    if order is not None and not (dataset_folder(order.home, order.spec.dataset_id) / "dataset.json").is_file():
        return f"the data set {order.spec.dataset_id!r} is gone; it was deleted while the job needed it"
    if isinstance(error, NotFinite):
        return f"a figure of the result has no value, so it cannot be kept: {error}"
    if isinstance(error, ZooError):
        return error.message
    if isinstance(error, ZooModelError):
        return str(error)
    return "the worker failed unexpectedly; its log has the details"


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "not enough memory" in text or "can't allocate memory" in text or "out of memory" in text
    )
