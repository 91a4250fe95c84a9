"""Networks tuned on tables and series are loaded and checked like any other; untrained ones say what they need."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model_zoo.cards.card import Card
from model_zoo.cards.tuned_parts import TargetScale
from model_zoo.cards.weight_source import TunedSource
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import write_golden_items
from model_zoo.materialised import Materialised
from model_zoo.network import build_network
from model_zoo.version_folder import GOLDEN
from service.errors import NotReady
from service.tasks.table import task_for
from service.types import Forecast, Item, Options, Regression, RowInstance, SeriesInstance
from tests.support.registry.loader_fakes import FakeStore, loader
from tests.support.tasks.structured_cards import (
    CATEGORIES_ALONE,
    FLATS,
    NUMBERS_ALONE,
    series_card,
    table_card,
)


def published(card: Card, instance: Any, folder: Path) -> tuple[Card, Materialised]:
    """A version folder as a job of method `full` leaves it, with random weights."""
    source = TunedSource(kind="tuned", base=card.name, base_digest="0" * 64, method="full", files={})
    card = card.model_copy(update={"source": source})
    torch.manual_seed(0)
    network = build_network(card).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    save_file(network.backbone.state_dict(), folder / "model.safetensors")
    found = Materialised(folder, folder / "model.safetensors", {}, "0" * 64)
    [item] = task_for(card, found).preprocess([instance], ["golden"])
    assert isinstance(item, Item)
    outputs = network(**{name: torch.from_numpy(np.asarray(array))[None] for name, array in item.tensors.items()})
    write_golden_items(folder / GOLDEN, [(item.tensors, {name: out[0].numpy() for name, out in outputs.items()})])
    return card, found


ROW = {"area": 90, "rooms": 4, "town": "Köln", "lift": True}
TARGET = TargetScale(mean=200_000, std=50_000, lower=-1, upper=1)


def of(recipe: Any) -> RowInstance:
    known = {column.name for column in (*recipe.numbers, *recipe.categories)}
    return RowInstance({name: cell for name, cell in ROW.items() if name in known})


@pytest.mark.parametrize(
    ("card", "instance"),
    [
        (table_card(target=TARGET), of(FLATS)),
        (table_card(NUMBERS_ALONE, target=TARGET), of(NUMBERS_ALONE)),
        (table_card(CATEGORIES_ALONE, target=TARGET), of(CATEGORIES_ALONE)),
        (series_card(channels=2), SeriesInstance(np.random.default_rng(0).normal(50, 5, (30, 2)))),
    ],
    ids=["table", "numbers", "categories", "series"],
)
def test_published_version_is_loaded_checked_and_answers(card: Card, instance: Any, tmp_path: Path) -> None:
    card, found = published(card, instance, tmp_path)
    loaded = loader(FakeStore(found)).load(card)
    [item] = loaded.task.preprocess([instance], ["x"])
    assert isinstance(item, Item)
    [row] = loaded.task.split(loaded.runtime.run(loaded.task.collate([item])[0]), [item])
    answer = loaded.task.postprocess(row, item, Options())
    if isinstance(answer, Regression):
        assert answer.value == pytest.approx(loaded.task.shown(row)["value"][0], rel=1e-6)
        assert 0 < answer.value < 1_000_000
    else:
        assert isinstance(answer, Forecast)
        assert answer.values.shape == (3, 2)
        assert np.abs(answer.values - 50).max() < 50


def test_version_with_changed_weights_is_not_served(tmp_path: Path) -> None:
    card, found = published(table_card(), of(FLATS), tmp_path)
    torch.manual_seed(1)
    save_file(build_network(card).backbone.state_dict(), found.weights)
    with pytest.raises(NotReady, match="golden check failed"):
        loader(FakeStore(found)).load(card)


def test_version_that_fails_in_its_precision_serves_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, found = published(table_card(target=TARGET), of(FLATS), tmp_path)
    monkeypatch.setattr(
        "service.registry.loading.loader.closeness_problem", lambda card, precision, found: "it is too far off"
    )
    loaded = loader(FakeStore(found), precision="bf16").load(card)
    assert loaded.runtime.precision == "fp32"
    assert loaded.note == "it cannot run in bf16: it is too far off; it runs in fp32"
    [item] = loaded.task.preprocess([of(FLATS)], ["x"])
    assert isinstance(item, Item)
    [row] = loaded.task.split(loaded.runtime.run(loaded.task.collate([item])[0]), [item])
    [golden] = loaded.golden()
    np.testing.assert_allclose(row["value"], golden.outputs["value"], atol=1e-5)


@pytest.mark.parametrize("name", ["tabular_mlp", "series_gru"])
@pytest.mark.parametrize("offline", [False, True])
def test_untuned_network_without_weights_says_what_it_needs(name: str, offline: bool) -> None:
    store = FakeStore()
    with pytest.raises(NotReady, match="it has no weights of its own; tune it on your data"):
        loader(store, offline=offline).load(Catalog.from_package().get(name))
    assert not store.fetched
