"""How much jobs may take, and how long each step of one may last."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from service.jobs.preemption import PreemptionLimits


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many jobs that have not ended there may be."""

    per_owner: int = 16
    queued: int = 256
    """QUEUED ones, of all owners."""


@dataclass(frozen=True, slots=True)
class OwnerTerms:
    """What holds for the jobs of one owner, where a token proves it."""

    most: int = 0
    """Jobs that have not ended, in place of the server's limit; 0 keeps that."""
    sole: bool = False
    """Whether the owner's jobs may only make versions of models for which no other owner has jobs."""

    def applied_to(self, quotas: Quotas) -> Quotas:
        """The server's quotas with the owner's own limit in them."""
        return replace(quotas, per_owner=self.most) if self.most else quotas


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Limits of one server. `fine_tuning.py` derives the first group from the settings; the second is fixed but for tests."""

    per_device: int = 1
    """Jobs at once; 0 leaves them to other servers."""
    threads: int = 1
    """Of each worker."""
    memory_mib: int = 0
    """Resident, of each worker; 0 sets no limit."""
    quotas: Quotas = field(default_factory=Quotas)
    preemption: PreemptionLimits = field(default_factory=PreemptionLimits)
    mlflow_uri: str = ""
    prewarm_s: float = 0.0
    """How long a prewarmed worker is kept after the last sign that a job may come; 0 keeps none."""
    retention_s: float = 0.0
    """After this time, the folder and the events of a job that has ended are removed; 0 keeps them."""

    max_deaths: int = 3
    """Workers that may die in a row, without a new checkpoint between them, before the job fails."""
    retry_delay_s: float = 2.0
    """Before the second try; doubled for each further one."""
    silence_s: float = 60.0
    """A worker that is neither suspended nor starved and writes nothing for this time is taken to hang."""
    cancel_s: float = 15.0
    """How long a worker may take to end after a cancel before it is killed."""
    pause_s: float = 120.0
    """How long a worker may take to write its checkpoint and end after a pause."""
    exit_s: float = 10.0
    """How long a process may take to end after its last message."""
    lease_s: float = 30.0
    """Another server may take a job whose lease has not been renewed for this time."""
    flush_s: float = 0.5
    """Between two writes of events."""
    pressure_poll_s: float = 0.02
    """Between two reads of the pressure."""
    poll_s: float = 1.0
    """Between two reads of the database for changes by other servers."""
