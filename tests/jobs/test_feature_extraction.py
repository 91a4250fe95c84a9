"""Features of a frozen base, computed by the server that serves it: correct, resumable, and after the rows of clients."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from model_zoo.materialised import Materialised
from service.datasets.dataset import Columns, Example
from service.errors import NotFound, NotReady
from service.jobs.feature_extraction import FeatureExtraction
from service.registry.states import ModelState
from service.training.data.feature_cache import CHUNK, FeatureCache, features_folder
from service.types import TextInstance
from tests.support.registry.fakes import FakeTask, World, card, world
from tests.support.scheduler.fakes import until

pytestmark = pytest.mark.asyncio

FILES = Materialised(Path(), Path(), {}, "d" * 64)


class Data:
    """Texts that are numbers; every seventh is bad."""

    info = SimpleNamespace(id="data", columns=Columns())

    def __init__(self, count: int) -> None:
        self.count = count
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        self.read.append(index)
        text = "bad" if index % 7 == 6 else str(index)
        return Example(TextInstance(text.encode()), 0, "", str(index), f"row {index}")


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Data:
    made = Data(20)
    monkeypatch.setattr("service.jobs.feature_extraction.open_dataset", lambda *_: made)
    monkeypatch.setattr("service.jobs.feature_extraction.features_task", lambda card, files, dataset: FakeTask(card))
    return made


def extraction(w: World, home: Path, lanes: int = 1) -> FeatureExtraction:
    store = SimpleNamespace(find=lambda card: FILES)
    return FeatureExtraction(home, w.registry, cast(Any, store), w.pool, lanes)


def cache(home: Path, count: int) -> FeatureCache:
    return FeatureCache(features_folder(home, card(), FILES, cast(Any, Data.info)), count)


def right(features: Any, ok: Any, known: Any) -> bool:
    n = len(ok)
    expected = np.array([[0.0 if i % 7 == 6 else 2.0 * i + 1.0] for i in range(n)], np.float32)
    return bool(
        known.all() and (features == expected).all() and ok.tolist() == [0 if i % 7 == 6 else 1 for i in range(n)]
    )


async def test_every_example_is_cached_in_its_place_and_a_bad_one_is_marked(tmp_path: Path, data: Data) -> None:
    async with world() as w:
        progress: list[tuple[int, int]] = []
        await extraction(w, tmp_path).compute("adder", "data", lambda *p: progress.append(p))
        filled = cache(tmp_path, 20)
        assert right(*filled.read())
        assert filled.complete
        assert progress[0] == (0, 20)
        assert progress[-1] == (20, 20)
        assert progress == sorted(progress)
        assert w.registry.rows_in_flight == 0


async def test_full_batches_are_submitted_on_a_quiet_device(tmp_path: Path, data: Data) -> None:
    async with world(max_batch_size=4) as w:
        w.runtime("adder").batches.clear()
        await extraction(w, tmp_path).compute("adder", "data", lambda *_: None)
        sizes = [len(batch) for batch in w.runtime("adder").batches]
        assert max(sizes) == 4
        assert sum(sizes) == 18


async def test_chunks_on_disk_are_not_computed_again(tmp_path: Path, data: Data) -> None:
    data.count = 2 * CHUNK + 10
    async with world(max_batch_size=64) as w:
        work = extraction(w, tmp_path)
        filled = cache(tmp_path, data.count)
        features = np.array([[0.0 if i % 7 == 6 else 2.0 * i + 1.0] for i in range(CHUNK)], np.float32)
        filled.write(0, features, np.array([i % 7 != 6 for i in range(CHUNK)], np.uint8))
        await work.compute("adder", "data", lambda *_: None)
        assert min(data.read) == CHUNK
        assert right(*filled.read())
        data.read.clear()
        await work.compute("adder", "data", lambda *_: None)
        assert data.read == []


async def test_cancelled_run_keeps_its_chunks_and_leaves_no_rows_in_flight(tmp_path: Path, data: Data) -> None:
    data.count = CHUNK + 20
    async with world(max_batch_size=64) as w:
        work = extraction(w, tmp_path)
        runtime = w.runtime("adder")
        done: list[int] = []

        def progress(at: int, of: int) -> None:
            done.append(at)
            if at == CHUNK:
                runtime.gate.clear()

        run = asyncio.create_task(work.compute("adder", "data", progress))
        await until(lambda: CHUNK in done and w.registry.rows_in_flight)
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        runtime.gate.set()
        await until(lambda: not w.registry.rows_in_flight)
        assert cache(tmp_path, data.count).ranges() == [(0, CHUNK)]
        await work.compute("adder", "data", lambda *_: None)
        assert right(*cache(tmp_path, data.count).read())


async def test_one_row_at_a_time_is_submitted_after_the_rows_of_clients(tmp_path: Path, data: Data) -> None:
    async with world(max_batch_size=4) as w:
        runtime = w.runtime("adder")
        runtime.gate.clear()
        caller = asyncio.create_task(w.inference.infer(w.request("1000")))
        await until(lambda: runtime.batches and runtime.batches[-1] == [1000.0])
        run = asyncio.create_task(extraction(w, tmp_path).compute("adder", "data", lambda *_: None))
        await until(lambda: w.model().rows_in_flight == 2)
        others = [asyncio.create_task(w.inference.infer(w.request(str(2000 + i)))) for i in range(4)]
        await until(lambda: w.model().queue_depth == 5)
        runtime.gate.set()
        await asyncio.gather(caller, *others)
        await run
        assert sorted(runtime.batches[1]) == [2000.0, 2001.0, 2002.0, 2003.0], (
            "the rows of clients went before the row of the job that was there first"
        )
        assert right(*cache(tmp_path, 20).read())


async def test_rows_of_a_job_count_as_no_pressure(tmp_path: Path, data: Data) -> None:
    async with world(max_batch_size=4) as w:
        w.runtime("adder").gate.clear()
        run = asyncio.create_task(extraction(w, tmp_path).compute("adder", "data", lambda *_: None))
        await until(lambda: w.model().queue_depth)
        assert w.scheduler.longest_wait_s() == 0.0
        w.runtime("adder").gate.set()
        await run


async def test_base_that_is_not_loaded_is_loaded(tmp_path: Path, data: Data) -> None:
    async with world(load=False) as w:
        await extraction(w, tmp_path).compute("adder", "data", lambda *_: None)
        assert w.registry.status("adder").state is ModelState.READY
        assert right(*cache(tmp_path, 20).read())


async def test_base_that_cannot_be_loaded_leaves_all_features_to_the_worker(tmp_path: Path, data: Data) -> None:
    async with world(load=False) as w:
        w.loader.fail("adder", NotReady("its weights are not on this machine"))
        await extraction(w, tmp_path).compute("adder", "data", lambda *_: None)
        assert not cache(tmp_path, 20).ranges()
        with pytest.raises(NotFound):
            await extraction(w, tmp_path).compute("nobody", "data", lambda *_: None)


async def test_base_that_fails_leaves_the_rest_to_the_worker(tmp_path: Path, data: Data) -> None:
    async with world() as w:
        w.runtime("adder").poison = {3.0}
        await extraction(w, tmp_path).compute("adder", "data", lambda *_: None)
        assert not cache(tmp_path, 20).complete
        assert w.registry.rows_in_flight == 0
