"""Features of a frozen backbone through the serving path, for jobs of method `head`: the base's own queue, lanes and batches.

    dataset ──► pool: read, preprocess ──► base's queue, last priority ──► rows of features ──► chunk on disk

Callers come first. While somebody else is on the device, one row goes at a time, and only when nobody waits; while nobody is,
full batches go, as many at once as there are lanes. What is on disk is not computed again; what cannot be computed here is
left to the worker, which is told when this has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import numpy as np
from numpy.typing import NDArray

from model_zoo.store import Store
from service.datasets.dataset import Examples
from service.datasets.examples import open_dataset
from service.engine.served_model import ServedModel
from service.errors import QueueFull, TooLate, ZooError
from service.observability.log import logger
from service.registry.registry import Registry
from service.runtime.heads import FeatureHead
from service.tasks.base import Task
from service.training.data.feature_cache import (
    EXACT,
    REDUCED,
    FeatureCache,
    features_folder,
    gaps,
)
from service.training.data.feature_inputs import base_instance, features_task
from service.types import Item, Row

log = logger(__name__)

LAST_PRIORITY = 9
QUIET_S = 0.25
"""So long after somebody else was seen on the device it counts as in use."""
LOOK_S = 0.005
LONGEST_WAIT_S = 1.0
"""A row goes after that though others wait, or a server that is never idle would finish no job."""
DEADLINE_S = 3600.0
"""For the base to be there."""
NO_DEADLINE = float("inf")
"""Of the rows: nobody waits for them, so that they make no job rest, this one least of all."""

T = TypeVar("T")
Given = TypeVarTuple("Given")

OnProgress = Callable[[int, int], None]


class _StoppedError(Exception):
    """The server cannot go on; the worker can."""


@dataclass(slots=True)
class _Quiet:
    """Whether somebody else is on the device."""

    registry: Registry
    ours: int = 0
    """Rows of ours that are inside."""
    last_seen: float = field(default=float("-inf"))

    def others(self) -> bool:
        """Whether others have rows inside at this moment."""
        busy = self.registry.rows_in_flight > self.ours
        if busy:
            self.last_seen = time.monotonic()
        return busy

    @property
    def reigns(self) -> bool:
        """Nobody has been seen for a while."""
        return not self.others() and time.monotonic() - self.last_seen >= QUIET_S


class FeatureExtraction:
    """Computes features for jobs. Lives on the event loop; reading and preprocessing run in the pool."""

    def __init__(self, home: Path, registry: Registry, store: Store, pool: ThreadPoolExecutor, lanes: int = 1) -> None:
        """`lanes`: batches that the device runs at once."""
        self._home = home
        self._registry = registry
        self._store = store
        self._pool = pool
        self._lanes = lanes

    async def compute(self, base: str, dataset_id: str, folder: Path, on_progress: OnProgress) -> None:
        """Fills the cache of a base's features of a dataset, as far as it can. The form of `Hooks.features`; the job's `folder`
        is not needed. Raises NotFound for an unknown base or dataset. Cancelled, it keeps the chunks that are complete."""
        card = self._registry.status(base).card
        try:
            await self._registry.load(base)
        except ZooError as error:
            log.info("the job computes its features itself", base=base, reason=error.message)
            return
        files = await self._in_pool(self._store.find, card)
        if files is None:
            return
        examples = await self._in_pool(open_dataset, self._home, dataset_id)
        cache = FeatureCache(features_folder(self._home, files.digest, dataset_id), len(examples))
        task = await self._in_pool(features_task, card, files)
        try:
            await self._fill(base, task, examples, cache, on_progress)
        except* (_StoppedError, ZooError) as errors:
            reason = str(errors.exceptions[0])
            log.info("the job computes the rest of its features itself", base=base, reason=reason)

    async def _fill(
        self, base: str, task: Task, examples: Examples, cache: FeatureCache, on_progress: OnProgress
    ) -> None:
        total = len(examples)
        found, _, known = await self._in_pool(cache.read)
        width = 0 if found is None else found.shape[1]
        done = int(known.sum())
        on_progress(done, total)
        for start, stop in gaps(known):
            before = done

            def on_done(count: int, before: int = before) -> None:
                on_progress(before + count, total)

            features, ok = await self._chunk(base, task, examples, range(start, stop), on_done)
            width = width or features.shape[1]
            if features.shape[1] != width:  # not one example could be prepared: the width is known from the others
                features = np.zeros((stop - start, width), np.float32)
            await self._in_pool(cache.write, start, features, ok)
            done += stop - start
            on_progress(done, total)
        if width and not cache.complete:
            await self._in_pool(cache.finish, width)

    async def _chunk(
        self, base: str, task: Task, examples: Examples, indices: range, on_done: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Features `(n, D)` and ok `(n)` of a stretch of the dataset; D is 0 where nothing could be prepared."""
        quiet = _Quiet(self._registry)
        rows: dict[int, tuple[NDArray[np.float32], int]] = {}
        finished = 0

        async def go(numbers: Sequence[int], items: Sequence[Item]) -> None:
            rows.update(zip(numbers, await self._ask(base, items, quiet), strict=True))

        at = indices.start
        async with asyncio.TaskGroup() as group:
            under_way: set[asyncio.Task[None]] = set()
            while at < indices.stop:
                calm = quiet.reigns
                most = self._registry.status(base).max_batch_size if calm else 1
                some = range(at, min(at + most, indices.stop))
                outcomes = await self._prepared(task, examples, some)
                at = some.stop
                good = [(i, item) for i, item in zip(some, outcomes, strict=True) if isinstance(item, Item)]
                # One batch waits behind those that run, so that no lane is idle while the next one is prepared.
                while len(under_way) >= (self._lanes + 1 if calm else 1):
                    _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                if not calm:
                    await _until_nobody_waits(quiet)
                if good:
                    under_way.add(group.create_task(go([i for i, _ in good], [item for _, item in good])))
                finished += len(some)
                on_done(min(finished, len(indices) - 1))
        width = len(next(iter(rows.values()))[0]) if rows else 0
        features, ok = np.zeros((len(indices), width), np.float32), np.zeros(len(indices), np.uint8)
        for number, (row, precision) in rows.items():
            features[number - indices.start], ok[number - indices.start] = row, precision
        return features, ok

    async def _prepared(self, task: Task, examples: Examples, some: range) -> list[Item | ZooError]:
        """Rows of a batch, in order: read and preprocessed in as many parts at once as the device has lanes."""
        size = -(-len(some) // self._lanes)
        parts = [some[start : start + size] for start in range(0, len(some), size)]
        found = await asyncio.gather(*(self._in_pool(_prepare, task, examples, part) for part in parts))
        return [outcome for part in found for outcome in part]

    async def _ask(self, base: str, items: Sequence[Item], quiet: _Quiet) -> list[tuple[NDArray[np.float32], int]]:
        """Rows of features, in order, each with EXACT or REDUCED. Raises _StoppedError where the base does not answer,
        ZooError where it is gone."""
        tapped = [Item(item.tensors, item.length, item.notes, TAP) for item in items]
        while True:
            served = await self._registry.acquire(base, "", time.monotonic() + DEADLINE_S)
            assert isinstance(served, ServedModel)
            try:
                served.enter(len(items), NO_DEADLINE, LAST_PRIORITY)
                break
            except (QueueFull, TooLate) as error:
                await asyncio.sleep(min(error.retry_after_s or LOOK_S, LONGEST_WAIT_S))
        quiet.ours += len(items)
        try:
            outcomes = await served.submit(tapped, NO_DEADLINE, LAST_PRIORITY).result()
        finally:
            quiet.ours -= len(items)
            served.leave(len(items))
        rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
        if len(rows) < len(items):
            raise _StoppedError("the base did not answer")
        return [
            (
                np.asarray(row.tensors[FeatureHead.OUTPUT], np.float32),
                EXACT if row.batch.precision == "fp32" else REDUCED,
            )
            for row in rows
        ]

    async def _in_pool(self, work: Callable[[Unpack[Given]], T], *arguments: *Given) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


TAP = FeatureHead()


async def _until_nobody_waits(quiet: _Quiet) -> None:
    until = time.monotonic() + LONGEST_WAIT_S
    while quiet.others() and time.monotonic() < until:  # noqa: ASYNC110  # nobody tells when others leave
        await asyncio.sleep(LOOK_S)


def _prepare(task: Task, examples: Examples, indices: range) -> list[Item | ZooError]:
    """In the pool. An example whose file cannot be read is an error of its own."""
    found = [examples[i] for i in indices]
    return task.preprocess([base_instance(example) for example in found], [example.origin for example in found])
