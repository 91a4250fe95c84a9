"""What a frozen backbone makes of every example: from the cache, the rest computed here in eager torch, batch by batch."""

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
from service.training.data.accounting import reason_of, tell_left_out
from service.training.data.feature_cache import (
    EXACT,
    REDUCED,
    FeatureCache,
    features_folder,
    gaps,
)
from service.training.data.feature_inputs import base_instance, features_task
from service.training.failures import CannotTrain
from service.training.protocol import Log, Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say
from service.types import Item

SHARE = 0.8
"""Of a whole job of method `head`."""
PATIENCE_S = 300.0
"""Without a new chunk from the server for so long, the worker goes on by itself."""
LOOK_S = 0.2
PREPARE = 32
"""Examples that are preprocessed together."""
ROWS = 16
"""Of one batch: beyond, a CPU gains next to nothing."""
MOST_ASKED = 1000
"""Examples that are prepared once more, to learn why they cannot be."""
NO_NUMBERS = "the network gave no numbers for it"


@dataclass(frozen=True, slots=True)
class Features:
    """Of all examples of a data set, in their order."""

    rows: NDArray[np.float32]
    """`(N, D)`, zeros where `ok` is false."""
    ok: NDArray[np.bool_]
    """`(N)`: whether the example could be prepared, and the backbone gave numbers for it."""
    reduced: NDArray[np.bool_]
    """`(N)`: whether the backbone ran in a reduced precision, as a server's fast tier does."""

    def usable(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Those that have features."""
        return tuple(i for i in indices if self.ok[i])


def backbone_features(job: Job, say: Say, told: StopSignal) -> Features:
    """Takes what the cache has, waits for what the server still computes, computes the rest, and leaves it in the cache.

    Raises:
        Rested: told to stop; the chunks that are complete stay.
        CannotTrain: not one example could be prepared.
    """
    if job.files is None:
        raise CannotTrain(f"the base {job.base.name!r} has no trained weights, so no features; train it in full")
    cache = FeatureCache(features_folder(job.order.home, job.files.digest, job.info.id), len(job.examples))
    if job.order.features_from_server and not cache.complete:
        _wait_for_server(cache, say, told)
    features, ok, known = cache.read()
    if not known.all():
        _fill(job, cache, known, say, told)
        features, ok, known = cache.read()
    if features is None or not known.all():
        raise CannotTrain("the features on disk cannot be read back; delete them and run the job again")
    if not cache.complete:
        cache.finish(features.shape[1])
    found = Features(features, ok != 0, ok == REDUCED)
    _report_left_out(job, found, say)
    if not found.ok.any():
        raise CannotTrain(f"not one of the {len(ok)} examples could be prepared for {job.base.name!r}")
    say(Progress(phase="features", ratio=SHARE, step=len(ok), steps=len(ok)))
    return found


def _wait_for_server(cache: FeatureCache, say: Say, told: StopSignal) -> None:
    seen, since = -1, time.monotonic()
    while not told.features_ready.wait(LOOK_S):
        told.check()
        done = sum(stop - start for start, stop in cache.ranges())
        if done != seen:
            seen, since = done, time.monotonic()
            say(Progress(phase="features", ratio=SHARE * min(done / cache.count, 1), step=done, steps=cache.count))
        elif time.monotonic() - since > PATIENCE_S:
            say(Log(level="info", text="the server is busy with calls; the job computes its features itself"))
            return


def _fill(job: Job, cache: FeatureCache, known: NDArray[np.bool_], say: Say, told: StopSignal) -> None:
    network, task = _eager(job)
    total, done, began = len(known), int(known.sum()), time.monotonic()
    at_start = done
    for start, stop in gaps(known):
        features, ok = _computed(job, network, task, range(start, stop), told)
        cache.write(start, features, ok)
        done += stop - start
        left = (time.monotonic() - began) / (done - at_start) * (total - done)
        say(Progress(phase="features", ratio=SHARE * done / total, step=done, steps=total, remaining_s=round(left, 1)))


def in_fp32(job: Job, features: Features, indices: Sequence[int], told: StopSignal) -> NDArray[np.float32]:
    """Features of a few examples, `(n, D)`, as the backbone gives them in fp32: those that came from a reduced precision are
    computed anew. They are the reference by which servers judge the head on other tiers."""
    rows = features.rows[list(indices)]
    wanted = [position for position, index in enumerate(indices) if features.reduced[index]]
    if wanted:
        found, ok = _computed(job, *_eager(job), [indices[position] for position in wanted], told)
        good = ok == EXACT
        rows[np.array(wanted)[good]] = found[good]
    return rows


def _eager(job: Job) -> tuple[Network, Task]:
    """The backbone in fp32, and what prepares examples for it."""
    assert job.files is not None
    network, task = load_network(job.base, job.files).to(job.order.device), features_task(job.base, job.files)
    if job.base.architecture.builder == "timm":
        network = network.to(memory_format=torch.channels_last)
    return network, task


@torch.inference_mode()
def _computed(
    job: Job, network: Network, task: Task, indices: Sequence[int], told: StopSignal
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Features `(n, D)` and ok `(n)`. Neighbours in length ride together, so that little is padded."""
    items: list[tuple[int, Item]] = []
    for at in range(0, len(indices), PREPARE):
        told.check()
        some = indices[at : at + PREPARE]
        examples = [job.examples[i] for i in some]
        outcomes = task.preprocess([base_instance(e) for e in examples], [e.origin for e in examples])
        items += [(at + i, outcome) for i, outcome in enumerate(outcomes) if not isinstance(outcome, ZooError)]
    items.sort(key=lambda pair: pair[1].length)
    features: NDArray[np.float32] | None = None
    ok = np.zeros(len(indices), np.uint8)
    for at in range(0, len(items), ROWS):
        told.check()
        batch = items[at : at + ROWS]
        arrays, _ = task.collate([item for _, item in batch])
        inputs = {name: torch.from_numpy(array).to(job.order.device) for name, array in arrays.items()}
        found = network.features(**inputs).float().cpu().numpy()  # (rows, D)
        if features is None:
            features = np.zeros((len(indices), found.shape[1]), np.float32)
        rows = np.array([i for i, _ in batch])
        good = np.isfinite(found).all(axis=1)
        features[rows[good]], ok[rows[good]] = found[good], EXACT
    if features is None:
        features = np.zeros((len(indices), _width(network, task, job.order.device)), np.float32)
    return features, ok


def _width(network: Network, task: Task, device: str) -> int:
    arrays, _ = task.collate([task.warmup_item()])
    return int(network.features(**{name: torch.from_numpy(a).to(device) for name, a in arrays.items()}).shape[1])


def _report_left_out(job: Job, features: Features, say: Say) -> None:
    """The cache does not hold why; so the task is asked again."""
    bad: list[int] = np.flatnonzero(~features.ok).tolist()
    if not bad:
        return
    assert job.files is not None
    task = features_task(job.base, job.files)
    for index in bad[MOST_ASKED:]:
        job.left_out[index] = "could not be prepared for the network"
    for index in bad[:MOST_ASKED]:
        example = job.examples[index]
        (outcome,) = task.preprocess([base_instance(example)], [example.origin])
        job.left_out[index] = reason_of(outcome) if isinstance(outcome, ZooError) else NO_NUMBERS
    tell_left_out(job, say)
