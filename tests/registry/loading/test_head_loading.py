"""Fine-tuned versions of the real networks with the real loader: many heads on one base, adapters, and full versions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import golden_path
from model_zoo.materialised import Materialised
from model_zoo.store import Store
from model_zoo.versions import Versions
from service.engine.served_head import Served
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.registry.composition import build_registry
from service.registry.loading.loader import Loader
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_status import VersionStatus
from service.registry.options import defaults_for
from service.registry.registry import Registry
from service.runtime.device import DevicePlan
from service.runtime.heads import HeadPool
from service.runtime.lanes.threads import Lanes
from service.scheduler.scheduler import DeviceScheduler
from service.settings import Settings
from service.types import ImageInstance, Item, Row, TextInstance
from tests.support.registry.real_tuned import publish_real, torch_answer, torch_features

pytestmark = [pytest.mark.weights, pytest.mark.asyncio]

MINILM, LITE0 = "all_minilm_l6_v2", "efficientnet_lite0"
TEXTS = (
    "A man is playing a guitar.",
    "Stocks fell sharply today, said the bank.",
    "Rain.",
    "The cat sat on the mat again and again.",
)


@dataclass
class Real:
    registry: Registry
    home: Path
    base: Card
    files: Materialised
    pool: HeadPool

    def item(self, text: str = TEXTS[0]) -> Item:
        task = self.registry.resolve(self.base.name).task
        (item,) = task.preprocess([TextInstance(text.encode())], ["t"])
        assert isinstance(item, Item)
        return item


@pytest.fixture
def real(served: Callable[[str], Any], zoo_home: Path, tmp_path: Path) -> Any:
    """A registry over a home of its own that has the real base's files."""

    @asynccontextmanager
    async def make(name: str) -> AsyncIterator[Real]:
        card = served(name).card
        for folder in ("weights", "downloads"):
            if not (tmp_path / folder).exists() and (zoo_home / folder).exists():
                (tmp_path / folder).symlink_to(zoo_home / folder)
        store = Store(tmp_path)
        files = store.find(card)
        assert files is not None
        scheduler = DeviceScheduler(asyncio.get_running_loop())
        lanes = Lanes(DevicePlan("cpu", 1, 1), scheduler.next_job)
        pool = HeadPool(1 << 20)
        loader = Loader(store, "cpu", True, lambda _: lambda *_: None, bases={name: card}, heads=pool)
        settings = Settings(home=tmp_path, optimize="off")
        registry = build_registry(
            {name: card},
            partial(defaults_for, settings, "cpu"),
            loader,
            scheduler,
            Recorder(Metrics(CollectorRegistry()), Statistics()),
            ledger=Ledger(heads=lambda: pool.bytes),
            versions=Versions(tmp_path),
        )
        lanes.start()
        try:
            await registry.load(name)
            yield Real(registry, tmp_path, card, files, pool)
        finally:
            await registry.close()
            scheduler.stop()
            lanes.join(timeout_s=20.0)

    return make


async def answer(served: Served, *items: Item) -> list[np.ndarray[Any, Any]]:
    served.admit(len(items))
    try:
        rows = await served.submit(items, float("inf")).result()
    finally:
        served.release(len(items))
    assert all(isinstance(row, Row) for row in rows), rows
    return [np.asarray(row.tensors["logits"]) for row in rows if isinstance(row, Row)]


async def test_hundred_heads_in_one_batch_answer_as_each_alone(real: Any) -> None:
    async with real(MINILM) as it:
        held = it.registry.ledger.total
        networks = []
        for i in range(100):
            kind = "mlp" if i % 3 == 0 else "linear"
            number, network = publish_real(
                it.home, f"head{i}", it.base, it.files, it.item(), width=384, seed=i, kind=kind, golden=i % 20 == 0
            )
            outcome = await it.registry.take(f"head{i}", number)
            assert "is stable" in outcome, outcome
            networks.append(network)
        items = [it.item(TEXTS[(i + 1) % 4]) for i in range(100)]
        heads = [it.registry.resolve(f"head{i}") for i in range(100)]
        together = await asyncio.gather(*(answer(head, item) for head, item in zip(heads, items, strict=True)))
        for i in range(0, 100, 11):
            alone = await answer(heads[i], items[i])
            np.testing.assert_allclose(together[i][0], alone[0], atol=1e-4)
        features = [torch_features(networks[0], it.item(text)) for text in TEXTS]
        for i, got in enumerate(together):
            with torch.inference_mode():
                expected = networks[i].head(features[(i + 1) % 4])[0].numpy()
            np.testing.assert_allclose(got[0], expected, atol=1e-4)
        assert it.registry.ledger.total < 1.1 * held
        assert {head.task.labels for head in heads} == {("class 0", "class 1", "class 2", "class 3")}
        assert len({head.preparer for head in heads}) == 1, "what comes in is tokenised together"


async def test_head_on_the_photo_network_uses_features_and_keeps_base_logits(
    real: Any,
) -> None:
    async with real(LITE0) as it:
        task = it.registry.resolve(LITE0).task
        photo = golden_path(it.base.golden[0].input.file)
        (item,) = task.preprocess([ImageInstance(photo.read_bytes())], ["photo"])
        assert isinstance(item, Item)
        before = await answer(it.registry.resolve(LITE0), item)
        number, network = publish_real(it.home, "photos", it.base, it.files, item, width=1280)
        assert "is stable" in await it.registry.take("photos", number)
        got, base = await asyncio.gather(
            answer(it.registry.resolve("photos"), item), answer(it.registry.resolve(LITE0), item)
        )
        np.testing.assert_allclose(got[0], torch_answer(network, item), atol=1e-3)
        np.testing.assert_allclose(base[0], before[0], atol=it.base.tolerance.max_abs_error)
        rows = await it.registry.resolve(LITE0).submit([item], float("inf")).result()
        assert set(rows[0].tensors) == {"logits"}, "clients never see features"


def version(registry: Registry, name: str) -> VersionStatus:
    return registry.versions(name)[0]


async def test_adapters_share_the_weights_of_their_base_in_memory(real: Any) -> None:
    async with real(MINILM) as it:
        networks = {}
        alone = it.registry.ledger.total
        for i in range(3):
            number, networks[i] = publish_real(
                it.home, f"lora{i}", it.base, it.files, it.item(), width=384, method="lora", seed=i
            )
            assert "is stable" in await it.registry.take(f"lora{i}", number)
        weights = it.base.parameters * 4
        for i in range(3):
            assert version(it.registry, f"lora{i}").memory_bytes < 0.1 * weights
            got = await answer(it.registry.resolve(f"lora{i}"), it.item(TEXTS[1]))
            np.testing.assert_allclose(got[0], torch_answer(networks[i], it.item(TEXTS[1])), atol=1e-4)
        beside = sum(version(it.registry, f"lora{i}").memory_bytes for i in range(3))
        assert it.registry.ledger.total == alone + beside
        place = {
            it.registry.resolve(name).runtime._network.get_parameter(path).data_ptr()
            for name, path in (
                (MINILM, "backbone.embeddings.word_embeddings.weight"),
                ("lora0", "base.backbone.embeddings.word_embeddings.weight"),
                ("lora2", "base.backbone.embeddings.word_embeddings.weight"),
            )
        }
        assert len(place) == 1
        item = it.item()
        await it.registry.unload(MINILM)
        assert it.registry.ledger.total > weights, "those that are left hold them"
        got = await answer(it.registry.resolve("lora1"), item)
        np.testing.assert_allclose(got[0], torch_answer(networks[1], item), atol=1e-4)


async def test_full_version_needs_no_files_of_its_base(real: Any) -> None:
    async with real(MINILM) as it:
        item = it.item()
        number, network = publish_real(it.home, "own", it.base, it.files, item, width=384, method="full", seed=5)
        await it.registry.unload(MINILM)
        assert "is stable" in await it.registry.take("own", number)
        got = await answer(it.registry.resolve("own"), item)
        np.testing.assert_allclose(got[0], torch_answer(network, item), atol=1e-4)
        assert it.registry.resolve("own").reference is not None, "so a faster form of it can be tried"


async def test_head_on_other_base_weights_is_refused(real: Any) -> None:
    async with real(MINILM) as it:
        wrong = Materialised(it.files.folder, it.files.weights, it.files.files, "f" * 64)
        number, _ = publish_real(it.home, "stray", it.base, wrong, it.item(), width=384)
        outcome = await it.registry.take("stray", number)
        assert f"its base '{MINILM}' has other weights than it was tuned on" in outcome
