"""Features of a frozen backbone through the serving path, for jobs of method `head`: the base's own queue, lanes and batches.

    dataset ──► pool: read, preprocess ──► base's queue, last priority ──► rows of features ──► chunk on disk

Calls of clients come first. While the device has rows of others, one row is submitted at a time, once no other row is inside;
on a quiet device full batches are submitted, as many at once as there are lanes. Chunks on disk are not computed again. The
worker computes the rest; it gets a message when the extraction has ended.
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
    FeatureCache,
    chunk_size,
    features_folder,
    gaps,
    row_state,
)
from service.training.data.feature_inputs import base_instance, features_task
from service.types import LAST_PRIORITY, Item, Row

log = logger(__name__)

QUIET_S = 0.25
"""The device is quiet when it has had no rows of others for this time."""
POLL_S = 0.005
MAX_WAIT_S = 1.0
"""A row is submitted after this time whatever the device has, or a job would not end on a server that is never idle."""
DEADLINE_S = 3600.0
"""Within which the base must be loaded."""
NO_DEADLINE = float("inf")
"""Of the rows: they count as no pressure, so that they suspend no job, this one least of all."""

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

OnProgress = Callable[[int, int], None]
"""Gets the examples that are done, and their number."""


class _NoAnswer(Exception):
    """The base does not answer: the worker computes the rest."""


@dataclass(slots=True)
class _OtherRows:
    """Whether the device has rows of others."""

    registry: Registry
    own_rows: int = 0
    """In flight."""
    last_seen: float = field(default=float("-inf"))

    def present(self) -> bool:
        """Whether rows of others are in flight now."""
        present = self.registry.rows_in_flight > self.own_rows
        if present:
            self.last_seen = time.monotonic()
        return present

    def absent_for_a_while(self) -> bool:
        """Whether the device is quiet."""
        return not self.present() and time.monotonic() - self.last_seen >= QUIET_S


class FeatureExtraction:
    """Computes features for jobs. Lives on the event loop; reading and preprocessing run in the pool."""

    def __init__(self, home: Path, registry: Registry, store: Store, pool: ThreadPoolExecutor, lanes: int = 1) -> None:
        """`lanes`: batches that the device runs at once."""
        self._home = home
        self._registry = registry
        self._store = store
        self._pool = pool
        self._lanes = lanes

    async def compute(self, base: str, dataset_id: str, on_progress: OnProgress) -> None:
        """Fills the cache of a base's features of a dataset as far as it can. A cancelled call keeps the complete chunks.

        Raises NotFound for an unknown base or dataset.
        """
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
        folder = await self._in_pool(features_folder, self._home, card, files, examples.info)
        cache = FeatureCache(folder, len(examples))
        task = await self._in_pool(features_task, card, files, examples.info)
        try:
            await self._fill(base, task, examples, cache, on_progress)
        except* (_NoAnswer, ZooError) as errors:
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
        for start, stop in gaps(known, chunk_size(task.card)):
            before = done

            def on_done(count: int, before: int = before) -> None:
                on_progress(before + count, total)

            features, ok = await self._chunk(base, task, examples, range(start, stop), on_done)
            width = width or features.shape[1]
            if features.shape[1] != width:  # no example of this chunk could be prepared; other chunks have the width
                features = np.zeros((stop - start, width), np.float32)
            await self._in_pool(cache.write, start, features, ok)
            done += stop - start
            on_progress(done, total)
        if width and not cache.complete:
            await self._in_pool(cache.finish, width)

    async def _chunk(
        self, base: str, task: Task, examples: Examples, indices: range, on_done: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Features `(n, D)` and ok `(n)` of a range of examples; D is 0 where no example could be prepared."""
        others = _OtherRows(self._registry)
        rows: dict[int, tuple[NDArray[np.float32], int]] = {}
        finished = 0

        async def submit(numbers: Sequence[int], items: Sequence[Item]) -> None:
            rows.update(zip(numbers, await self._ask(base, items, others), strict=True))

        at = indices.start
        async with asyncio.TaskGroup() as group:
            in_flight: set[asyncio.Task[None]] = set()
            while at < indices.stop:
                quiet = others.absent_for_a_while()
                size = self._registry.status(base).max_batch_size if quiet else 1
                batch = range(at, min(at + size, indices.stop))
                outcomes = await self._prepare_batch(task, examples, batch)
                at = batch.stop
                good = [(i, item) for i, item in zip(batch, outcomes, strict=True) if isinstance(item, Item)]
                # One batch waits behind those that run, so that no lane is idle while the next batch is prepared.
                while len(in_flight) >= (self._lanes + 1 if quiet else 1):
                    _, in_flight = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
                if not quiet:
                    await _until_absent(others)
                if good:
                    in_flight.add(group.create_task(submit([i for i, _ in good], [item for _, item in good])))
                finished += len(batch)
                on_done(min(finished, len(indices) - 1))
        width = len(next(iter(rows.values()))[0]) if rows else 0
        features, ok = np.zeros((len(indices), width), np.float32), np.zeros(len(indices), np.uint8)
        for number, (row, state) in rows.items():
            features[number - indices.start], ok[number - indices.start] = row, state
        return features, ok

    async def _prepare_batch(self, task: Task, examples: Examples, batch: range) -> list[Item | ZooError]:
        """Rows of a batch, in order: read and preprocessed in as many parts at once as the device has lanes."""
        size = -(-len(batch) // self._lanes)
        parts = [batch[start : start + size] for start in range(0, len(batch), size)]
        found = await asyncio.gather(*(self._in_pool(_prepare, task, examples, part) for part in parts))
        return [outcome for part in found for outcome in part]

    async def _ask(self, base: str, items: Sequence[Item], others: _OtherRows) -> list[tuple[NDArray[np.float32], int]]:
        """Rows of features, in order, each with its `row_state`.

        Raises _NoAnswer where the base does not answer, ZooError where it is no longer loaded.
        """
        with_features = [Item(item.tensors, item.length, item.notes, FEATURE_HEAD) for item in items]
        while True:
            served = await self._registry.acquire(base, "", time.monotonic() + DEADLINE_S)
            assert isinstance(served, ServedModel)
            try:
                served.admit(len(items), NO_DEADLINE, LAST_PRIORITY)
                break
            except (QueueFull, TooLate) as error:
                await asyncio.sleep(min(error.retry_after_s or POLL_S, MAX_WAIT_S))
        others.own_rows += len(items)
        try:
            outcomes = await served.submit(with_features, NO_DEADLINE, LAST_PRIORITY).result()
        finally:
            others.own_rows -= len(items)
            served.release(len(items))
        rows = [outcome for outcome in outcomes if isinstance(outcome, Row)]
        if len(rows) < len(items):
            raise _NoAnswer("the base did not answer")
        return [
            (np.asarray(row.tensors[FeatureHead.OUTPUT], np.float32), row_state(item, row.batch.precision == "fp32"))
            for row, item in zip(rows, items, strict=True)
        ]

    async def _in_pool(self, work: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


FEATURE_HEAD = FeatureHead()


async def _until_absent(others: _OtherRows) -> None:
    until = time.monotonic() + MAX_WAIT_S
    while others.present() and time.monotonic() < until:  # noqa: ASYNC110  # there is no event for rows of others that leave
        await asyncio.sleep(POLL_S)


def _prepare(task: Task, examples: Examples, indices: range) -> list[Item | ZooError]:
    """Runs in the pool. An example whose file cannot be read is an error of its own."""
    read = [examples[i] for i in indices]
    return task.preprocess([base_instance(example) for example in read], [example.origin for example in read])
