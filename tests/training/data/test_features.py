"""Features of real backbones: cached, completed, and equal to those of the served version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.network import load_network
from model_zoo.store import Store
from model_zoo.versions import Versions
from service.tasks.table import task_for
from service.training.stop_signal import StopRequested, StopSignal
from service.types import Item, TextInstance
from tests.support.training.data_sets import (
    add_dataset,
    cached_features,
    fortunes,
    head_order,
    home_with_weights,
    run_head,
    texts_csv,
)

pytestmark = [pytest.mark.weights, pytest.mark.component]


TOPICS = ("computers", "food", "love")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, served: object, zoo_home: Path) -> Path:
    for name in ("all_minilm_l6_v2", "char_lstm"):
        served(name)  # type: ignore[operator]  # fetched, or the test is skipped
    return home_with_weights(tmp_path_factory.mktemp("features"), zoo_home)


@pytest.fixture(scope="module")
def texts(home: Path) -> str:
    return add_dataset(home, texts_csv(fortunes(TOPICS, 40)), "texts.csv")


def test_damaged_features_are_computed_again(home: Path, tmp_path: Path) -> None:
    rows = fortunes(("food", "law"), 12)
    dataset = add_dataset(home, texts_csv(rows), "few.csv")
    order = head_order(home, dataset, "all_minilm_l6_v2", "text-classification")
    run_head(order, tmp_path / "1")
    [chunk] = cached_features(home, "all_minilm_l6_v2", dataset).folder.glob("chunk-*")
    chunk.write_bytes(chunk.read_bytes()[:-20])
    run_head(order, tmp_path / "2")
    first, second = ((tmp_path / n / "result" / "model.safetensors").read_bytes() for n in "12")
    assert first == second


def test_worker_completes_features_of_server(home: Path, tmp_path: Path) -> None:
    """The server has computed half of the features when it sends `features`."""
    rows = fortunes(("food", "law"), 13)
    dataset = add_dataset(home, texts_csv(rows), "half.csv")
    marked = np.random.default_rng(0).normal(size=(13, 384)).astype(np.float32)
    cache = cached_features(home, "all_minilm_l6_v2", dataset)
    cache.write(0, marked, np.ones(13, np.uint8))
    stop = StopSignal()
    stop.features_ready.set()
    order = head_order(home, dataset, "all_minilm_l6_v2", "text-classification", features_from_server=True)
    run_head(order, tmp_path / "job", stop)
    features, _, known = cache.read()
    assert features is not None
    assert known.all()
    assert cache.complete
    np.testing.assert_array_equal(features[:13], marked)
    np.testing.assert_allclose(np.linalg.norm(features[13:], axis=1), 1.0, rtol=1e-5)


def test_worker_waiting_for_features_obeys_pause(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, texts_csv(fortunes(("food", "law"), 11)), "wait.csv")
    stop = StopSignal()
    stop.pause.set()
    order = head_order(home, dataset, "all_minilm_l6_v2", "text-classification", features_from_server=True)
    with pytest.raises(StopRequested):
        run_head(order, tmp_path / "job", stop)
    assert not (tmp_path / "job" / "result").exists()


def test_batched_features_equal_single_features(home: Path, texts: str, tmp_path: Path) -> None:
    run_head(head_order(home, texts, "all_minilm_l6_v2", "text-classification"), tmp_path / "job")
    card = Catalog.from_package().get("all_minilm_l6_v2")
    base = Store(home).find(card)
    assert base is not None
    features, _, _ = cached_features(home, "all_minilm_l6_v2", texts).read()
    assert features is not None
    network, task = load_network(card, base), task_for(card, base)
    for i in (0, 50, 119):
        text = fortunes(TOPICS, 40)[i][0]
        [item] = task.preprocess([TextInstance(text.encode())], ["text"])
        assert isinstance(item, Item)
        with torch.inference_mode():
            alone = network.features(**{n: torch.from_numpy(a)[None] for n, a in item.tensors.items()})[0].numpy()
        np.testing.assert_allclose(features[i], alone, atol=1e-5)


def test_recurrent_features_equal_those_of_served_version(home: Path, tmp_path: Path) -> None:
    """A base that generates text reads only its end, a classifier reads all of it: features must be the classifier's."""
    dataset = add_dataset(home, texts_csv(fortunes(("computers", "songs-poems"), 25)), "styles.csv")
    run_head(head_order(home, dataset, "char_lstm", "text-classification", "my_style"), tmp_path / "job")
    version = Versions(home).open("my_style", Versions(home).publish("my_style", tmp_path / "job" / "result"))
    network = load_network(version.card, version.files, Store(home).find(Catalog.from_package().get("char_lstm")))
    for item in read_golden_items("my_style", version.golden):
        with torch.inference_mode():
            outputs = network(**{name: torch.from_numpy(array)[None] for name, array in item.inputs.items()})
        error = np.abs(outputs["logits"][0].numpy() - item.outputs["logits"]).max()
        assert error <= version.card.tolerance.max_abs_error
