"""Composition of the part that turns users' data into versions: datasets, jobs, and what jobs need of the rest of the server.

`server.py` constructs it with everything else, starts it before the ports answer, and stops it in the drain.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from model_zoo.live_catalog import LiveCatalog
from model_zoo.store import Store
from service.database import Database
from service.datasets.dataset_limits import MIB, limits_from_settings
from service.datasets.dataset_store import DatasetStore
from service.jobs.base_catalog import BaseCatalog
from service.jobs.change_notifier import ChangeNotifier
from service.jobs.feature_extraction import FeatureExtraction
from service.jobs.job_limits import JobLimits, Quotas
from service.jobs.job_service import JobService
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Leases
from service.jobs.persistence.retention import Retention
from service.jobs.preemption import PreemptionLimits
from service.jobs.runner import JobContext
from service.jobs.supervisor import Supervisor
from service.jobs.workers.launcher import ProcessLauncher
from service.observability.recorder import Recorder
from service.registry.registry import Registry
from service.runtime.device import DevicePlan
from service.scheduler.scheduler import DeviceScheduler
from service.settings import Settings, usable_memory_bytes
from service.wire.zoo_v1.fine_tuning import FineTuningServicer

DAY_S = 86_400.0


class FineTuning:
    """Datasets and jobs of one server. Construct, `await start()`, `await stop()`."""

    def __init__(
        self,
        settings: Settings,
        catalog: LiveCatalog,
        store: Store,
        database: Database,
        registry: Registry,
        scheduler: DeviceScheduler,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        plan: DevicePlan,
    ) -> None:
        """`registry` loads the versions that jobs publish; `pool` reads examples; `scheduler` measures how long calls wait."""
        home, limits = settings.home.absolute(), job_limits(settings)
        longest_wait_s, target_s = scheduler.longest_wait_s, settings.job_yield_target_ms / 1000.0
        context = JobContext(
            home=home,
            device=plan.name,
            limits=limits,
            leases=Leases(database),
            events=EventStore(database),
            launcher=ProcessLauncher(niceness=settings.job_niceness, prewarm_s=limits.prewarm_s),
            bases=BaseCatalog(catalog, store, settings.offline),
            registry=registry,
            features=FeatureExtraction(home, registry, store, pool, plan.lanes),
            pressure=lambda: longest_wait_s() / target_s,
            recorder=recorder,
            notifier=ChangeNotifier(),
        )
        jobs, retention = JobStore(database), Retention(database, home)
        self._supervisor = Supervisor(context, jobs, retention)
        self.datasets = DatasetStore(
            home, limits_from_settings(settings), roots=settings.dataset_roots, in_use=self._is_used_by_a_job
        )
        self.jobs = JobService(context, jobs, retention, self.datasets, self._supervisor)
        self.servicer = FineTuningServicer(self.datasets, self.jobs)

    async def start(self) -> None:
        """Takes up what the last server left. The database is open; call it in the main thread, to which workers are tied."""
        await self.datasets.start()
        await self._supervisor.start()

    def end_streams(self) -> None:
        """Ends uploads and watches; their clients continue at the next server."""
        self.servicer.stop()

    async def stop(self, grace_s: float) -> None:
        """Pauses workers after a checkpoint, and kills them after `grace_s`; their jobs go on at the next start."""
        self.jobs.close()
        await self._supervisor.stop(grace_s)

    async def _is_used_by_a_job(self, dataset_id: str) -> bool:
        return await self.jobs.in_use(dataset_id)


def job_limits(settings: Settings) -> JobLimits:
    """The limits of jobs that the settings give."""
    return JobLimits(
        per_device=settings.jobs_per_device,
        threads=settings.job_threads or settings.cores,
        memory_mib=settings.job_memory_mib or usable_memory_bytes() // MIB // 2,
        quotas=Quotas(per_owner=settings.jobs_per_owner, queued=settings.max_queued_jobs),
        preemption=PreemptionLimits(share=settings.job_min_share),
        mlflow_uri=settings.mlflow_uri,
        prewarm_s=settings.job_worker_ready_s,
        retention_s=settings.job_retention_days * DAY_S,
    )
