"""What jobs need of the rest of the server, handed over by `server.py`; and the limits that they keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from model_zoo.cards.card import Card
from service.datasets.dataset import DatasetInfo, DatasetKind
from service.jobs.persistence.job_store import Quotas
from service.jobs.preemption import PreemptionLimits
from service.training import compatibility
from service.training.job_spec import JobSpec

OnProgress = Callable[[int, int], None]
"""Examples that are done, and how many there are."""


async def _no_features(base: str, dataset_id: str, folder: Path, on_progress: OnProgress) -> None:
    """The worker computes them all."""


async def _not_announced(model: str, number: int, gated: bool) -> str:
    return ""


async def _all_here(base: str) -> None:
    """Nothing needs to be fetched."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callbacks. All run on the event loop and must not block it."""

    base_card: Callable[[str], Card]
    """A base by name. Raises NotFound with near names."""
    dataset: Callable[[str], Awaitable[DatasetInfo]]
    """A dataset by id. Raises NotFound."""
    files: Callable[[str], Awaitable[None]] = _all_here
    """Has the files of a base on this machine, fetched if need be. Raises NotReady with a reason for the user."""
    reserved: Callable[[str], bool] = lambda model: False
    """Whether a model's name is one of the zoo's, which jobs do not give versions to."""
    plan: Callable[[Card, DatasetInfo, JobSpec], JobSpec] = compatibility.plan
    """Task and method as chosen. Raises InvalidInput naming the field."""
    judge: Callable[[Card, JobSpec, Sequence[DatasetKind]], None] = compatibility.check_before_upload
    """What can be told of a job before its data are there; they may be of these kinds, if there are any. Raises as `plan`."""
    rival: Callable[[str], Path | None] = lambda model: None
    """Folder of the version that is `stable` now."""
    features: Callable[[str, str, Path, OnProgress], Awaitable[None]] = _no_features
    """Fills the cache of a base's features of a dataset as far as it can; what is missing, the worker computes."""
    published: Callable[[str, int, bool], Awaitable[str]] = _not_announced
    """A version is on disk. Loads it, moves `stable` to it if the last argument allows that and it is good enough, and gives what
    became of it in a sentence."""
    pressure: Callable[[], float] | None = None
    """How long the longest-waiting row of a served model waits, over how long it may; 1 is just as long."""


@dataclass(frozen=True, slots=True)
class JobLimits:
    """How much jobs may take, and how long things may last."""

    per_device: int = 1
    """Jobs at once; 0 leaves them to other servers."""
    threads: int = 1
    """Of each worker."""
    memory_mib: int = 0
    """Resident, of each worker; 0 sets no limit."""
    quotas: Quotas = field(default_factory=Quotas)
    yielding: PreemptionLimits = field(default_factory=PreemptionLimits)
    mlflow_uri: str = ""
    ready_s: float = 0.0
    """For how long after a sign of users a worker is kept ready for the next job; 0 keeps none."""
    retention_s: float = 0.0
    """After so long, what takes room of a job that has ended is removed; 0 keeps it."""

    deaths: int = 3
    """Workers that may die in a row, without a new checkpoint between them, before the job fails."""
    retry_delay_s: float = 2.0
    """Before the second try; doubled for each after."""
    silent_s: float = 60.0
    """Without a word from a worker that is neither held nor starved, it is taken to hang."""
    cancel_s: float = 15.0
    """How long a worker that was told to cancel may take before it is killed."""
    pause_s: float = 120.0
    """How long one that was told to pause may take for its checkpoint."""
    last_s: float = 10.0
    """How long a process may take to end after its last word."""
    lease_s: float = 30.0
    """After so long without a heartbeat, another server may take a job."""
    flush_s: float = 0.5
    """Between two writes of events."""
    look_s: float = 0.02
    """Between two looks at the pressure."""
    poll_s: float = 1.0
    """Between two looks at what other servers may have changed in the database."""
