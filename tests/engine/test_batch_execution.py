"""Batches of a loaded model: how far their rows are padded, and what failures of the device become."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from service.engine.tier_report import Tier, TierReport
from service.errors import InternalError, OutOfMemory
from service.types import InferReply, Item, Prediction, TensorInstance, Tensors
from tests.support.registry.fakes import World, world

pytestmark = pytest.mark.asyncio


async def ask(w: World, *texts: Any) -> InferReply:
    return await w.inference.infer(w.request(*texts))


def tensor(value: float) -> TensorInstance:
    return TensorInstance({"x": np.array([value], np.float32)})


# ── lengths ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tier", "step", "length", "padded_to"),
    [("compiled", 16, 30, 32), ("compiled", 16, 5, 5), ("compiled", 0, 30, 0), ("eager", 16, 30, 0)],
)
async def test_rows_are_padded_up_only_in_the_tier_that_measured_it_faster(
    tier: Tier, step: int, length: int, padded_to: int
) -> None:
    async with world() as w:
        asked: list[int] = []
        collate = w.task().collate

        def watched(items: Sequence[Item], least_length: int = 0) -> Any:
            asked.append(least_length)
            return collate(items, least_length)

        w.task().collate = watched  # type: ignore[method-assign]
        w.model().tier_report = TierReport(tier, "bf16", length_step=step)
        await w.model().submit([Item({"x": np.ones(1, np.float32)}, length)], math.inf).result()
        assert asked == [padded_to]


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────

SAYINGS = [
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"
    ),
    torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
]


def give_memory_for(w: World, rows: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The device holds so many rows at once, and raises `error` for more. Gives the sizes of the batches that were tried."""
    runtime, tried, run = w.runtime(), [], w.runtime().run

    def bounded(tensors: Tensors) -> Any:
        tried.append(len(tensors["x"]))
        if tried[-1] > rows:
            raise error
        return run(tensors)

    monkeypatch.setattr(runtime, "run", bounded)
    return tried


@pytest.mark.parametrize("error", SAYINGS, ids=lambda error: type(error).__name__)
async def test_batch_that_exceeds_memory_runs_in_smaller_batches(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(max_batch_size=8) as w:
        tried = give_memory_for(w, 2, error, monkeypatch)
        reply = await ask(w, *[tensor(i) for i in range(16)])
        assert all(isinstance(prediction, Prediction) for prediction in reply.predictions)
        assert tried[:3] == [8, 4, 2]
        assert max(tried[3:]) == 2


async def test_row_that_exceeds_memory_fails_alone_with_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        give_memory_for(w, 0, SAYINGS[0], monkeypatch)
        (error,) = (await ask(w, "1")).predictions
        assert isinstance(error, OutOfMemory)
        assert "alloc_cpu" not in error.message


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), BaseException("a panic of a library in Rust")])
async def test_error_of_another_kind_is_not_taken_for_out_of_memory(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        give_memory_for(w, 0, error, monkeypatch)
        predictions: Sequence[object] = (await ask(w, "1", "2")).predictions
        assert all(isinstance(one, InternalError) for one in predictions)
        assert w.model()._network.queue.most_rows(1) == 4
