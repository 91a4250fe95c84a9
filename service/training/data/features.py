"""The features of a frozen backbone on every example: from the cache, or else computed here in eager torch, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.architectures.wrappers import Network
from model_zoo.network import load_network
from service.errors import ZooError
from service.tasks.base import Task
from service.training.data.accounting import reason_of, send_left_out, send_truncated
from service.training.data.feature_cache import (
    EXACT,
    REDUCED,
    TRUNCATED,
    FeatureCache,
    chunk_size,
    features_folder,
    gaps,
    row_state,
)
from service.training.data.feature_inputs import base_instance, features_task
from service.training.failures import CannotTrain
from service.training.protocol import FEATURES_SHARE, Log, Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob
from service.types import Item

SERVER_PATIENCE_S = 300.0
"""If the server writes no new chunk for so long, the worker computes the features itself."""
POLL_S = 0.2
"""Between two looks at the server's chunks."""
PREPROCESS_CHUNK = 32
"""Examples that are preprocessed together."""
BATCH_ROWS = 16
"""A CPU gains almost nothing from larger batches."""
MAX_REASONS = 1000
"""Examples that are preprocessed again to find out why they cannot be used."""
NO_NUMBERS = "the network gave no numbers for it"


@dataclass(frozen=True, slots=True)
class Features:
    """The features of all examples of a data set, in their order."""

    rows: NDArray[np.float32]
    """`(N, D)`; zeros if `ok` is false."""
    ok: NDArray[np.bool_]
    """`(N)`: whether the example can be prepared and the backbone gives finite numbers for it."""
    reduced: NDArray[np.bool_]
    """`(N)`: whether the backbone ran in a reduced precision, as a fast tier of a server does."""

    def usable(self, indices: Sequence[int]) -> tuple[int, ...]:
        """The examples that have features."""
        return tuple(i for i in indices if self.ok[i])


def backbone_features(job: TrainingJob, send: SendMessage, stop: StopSignal) -> Features:
    """Waits for the features that the server computes, computes the missing ones, and writes them to the cache.

    Raises:
        StopRequested: the worker must stop; complete chunks stay.
        CannotTrain: no example can be prepared.
    """
    if job.files is None:
        raise CannotTrain(f"the base {job.base.name!r} has no trained weights, so no features; train it in full")
    cache = FeatureCache(features_folder(job.order.home, job.base, job.files, job.info), len(job.examples))
    if job.order.features_from_server and not cache.complete:
        _wait_for_server(cache, send, stop)
    features, ok, known = cache.read()
    if not known.all():
        _compute_missing(job, cache, known, send, stop)
        features, ok, known = cache.read()
    if features is None or not known.all():
        raise CannotTrain("the features on disk cannot be read back; delete them and run the job again")
    if not cache.complete:
        cache.finish(features.shape[1])
    all_features = Features(features, ok != 0, (ok & REDUCED) != 0)
    job.truncated.update(np.flatnonzero(ok & TRUNCATED).tolist())
    _report_left_out(job, all_features, send)
    send_truncated(job, send)
    if not all_features.ok.any():
        raise CannotTrain(f"not one of the {len(ok)} examples could be prepared for {job.base.name!r}")
    send(Progress(phase="features", ratio=FEATURES_SHARE, step=len(ok), steps=len(ok)))
    return all_features


def _wait_for_server(cache: FeatureCache, send: SendMessage, stop: StopSignal) -> None:
    previous, since = -1, time.monotonic()
    while not stop.features_ready.wait(POLL_S):
        stop.check()
        done = sum(end - start for start, end in cache.ranges())
        if done != previous:
            previous, since = done, time.monotonic()
            send(
                Progress(
                    phase="features", ratio=FEATURES_SHARE * min(done / cache.count, 1), step=done, steps=cache.count
                )
            )
        elif time.monotonic() - since > SERVER_PATIENCE_S:
            send(Log(level="info", text="the server is busy with calls; the job computes its features itself"))
            return


def _compute_missing(
    job: TrainingJob, cache: FeatureCache, known: NDArray[np.bool_], send: SendMessage, stop: StopSignal
) -> None:
    network, task = load_eager(job)
    total, done, began = len(known), int(known.sum()), time.monotonic()
    at_start = done
    for start, end in gaps(known, chunk_size(job.base)):
        features, ok = _compute(job, network, task, range(start, end), stop)
        cache.write(start, features, ok)
        done += end - start
        left = (time.monotonic() - began) / (done - at_start) * (total - done)
        send(
            Progress(
                phase="features",
                ratio=FEATURES_SHARE * done / total,
                step=done,
                steps=total,
                remaining_s=round(left, 1),
            )
        )


def in_fp32(job: TrainingJob, features: Features, indices: Sequence[int], stop: StopSignal) -> NDArray[np.float32]:
    """The features of a few examples in fp32, `(n, D)`. Features from a reduced precision are computed again.

    They are the reference by which servers check the head on other tiers.
    """
    rows = features.rows[list(indices)]
    reduced = [position for position, index in enumerate(indices) if features.reduced[index]]
    if reduced:
        computed, ok = _compute(job, *load_eager(job), [indices[position] for position in reduced], stop)
        good = (ok & EXACT) != 0
        rows[np.array(reduced)[good]] = computed[good]
    return rows


def load_eager(job: TrainingJob) -> tuple[Network, Task]:
    """The backbone in fp32, and the task that prepares examples for it."""
    assert job.files is not None
    network, task = load_network(job.base, job.files).to(job.order.device), features_task(job.base, job.files, job.info)
    if job.base.architecture.builder in ("timm", "torchvision"):
        network = network.to(memory_format=torch.channels_last)
    return network, task


@torch.inference_mode()
def _compute(
    job: TrainingJob, network: Network, task: Task, indices: Sequence[int], stop: StopSignal
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Features `(n, D)` and ok `(n)`. Examples of similar length share a batch, so that little is padded."""
    items: list[tuple[int, Item]] = []
    for at in range(0, len(indices), PREPROCESS_CHUNK):
        stop.check()
        chunk = indices[at : at + PREPROCESS_CHUNK]
        examples = [job.examples[i] for i in chunk]
        outcomes = task.preprocess([base_instance(e) for e in examples], [e.origin for e in examples])
        items += [(at + i, outcome) for i, outcome in enumerate(outcomes) if not isinstance(outcome, ZooError)]
    items.sort(key=lambda pair: pair[1].length)
    features: NDArray[np.float32] | None = None
    ok = np.zeros(len(indices), np.uint8)
    size = min(BATCH_ROWS, job.base.batching.max_batch_size)
    for at in range(0, len(items), size):
        stop.check()
        batch = items[at : at + size]
        arrays, _ = task.collate([item for _, item in batch])
        inputs = {name: torch.from_numpy(array).to(job.order.device) for name, array in arrays.items()}
        outputs = network.features(**inputs).float().cpu().numpy()  # (rows, D)
        if features is None:
            features = np.zeros((len(indices), outputs.shape[1]), np.float32)
        rows = np.array([i for i, _ in batch])
        good = np.isfinite(outputs).all(axis=1)
        features[rows[good]] = outputs[good]
        ok[rows[good]] = np.array([row_state(item, exact=True) for _, item in batch], np.uint8)[good]
    if features is None:
        features = np.zeros((len(indices), _width(network, task, job.order.device)), np.float32)
    return features, ok


def _width(network: Network, task: Task, device: str) -> int:
    arrays, _ = task.collate([task.warmup_item()])
    return int(network.features(**{name: torch.from_numpy(a).to(device) for name, a in arrays.items()}).shape[1])


def _report_left_out(job: TrainingJob, features: Features, send: SendMessage) -> None:
    """Notes why examples are left out. The cache does not hold the reasons, so the task prepares these examples again."""
    bad: list[int] = np.flatnonzero(~features.ok).tolist()
    if not bad:
        return
    assert job.files is not None
    task = features_task(job.base, job.files, job.info)
    for index in bad[MAX_REASONS:]:
        job.left_out[index] = "could not be prepared for the network"
    for index in bad[:MAX_REASONS]:
        example = job.examples[index]
        (outcome,) = task.preprocess([base_instance(example)], [example.origin])
        job.left_out[index] = reason_of(outcome) if isinstance(outcome, ZooError) else NO_NUMBERS
    send_left_out(job, send)
