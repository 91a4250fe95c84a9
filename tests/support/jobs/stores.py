"""For tests of the stores of jobs: a clock by hand, and jobs without quotas."""

from __future__ import annotations

from service.jobs.job_limits import OwnerTerms, Quotas
from service.jobs.persistence.job_store import JobStore
from service.jobs.types import Job, JobSpec
from tests.support.jobs.fakes import spec

QUOTAS = Quotas(per_owner=1000, queued=1000)


class Clock:
    """Seconds since 1970, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def create(
    store: JobStore,
    asked: JobSpec | None = None,
    request_id: str = "",
    owner: str = "",
    quotas: Quotas = QUOTAS,
    terms: OwnerTerms | None = None,
) -> Job:
    asked = asked or spec()
    return await store.create(asked, asked, request_id, owner, quotas, terms or OwnerTerms())
