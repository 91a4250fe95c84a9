"""A network without a file of weights is in the store all the same, and needs no network connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from model_zoo.cards.recipes import FilterKernel, WholeImageRecipe
from model_zoo.cards.weight_source import CardSource, SourceFile
from model_zoo.catalog import Catalog
from model_zoo.errors import SourceUnavailable
from model_zoo.network import load_network
from model_zoo.sources.source_table import source_for
from model_zoo.store import Store

CARD = Catalog.from_package().get("image_filter")


def test_store_has_an_empty_file_of_weights(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = store.materialise(CARD)
    assert store.find(CARD) == made
    assert made.weights.stat().st_size < 100
    assert not list(load_network(CARD, made).parameters())
    store.verify(CARD)


def test_source_has_nothing_to_read_or_to_remove(tmp_path: Path) -> None:
    source = source_for(CardSource(kind="card"))
    artifact = source.fetch(tmp_path)
    assert not artifact.exists()
    source.discard(artifact)
    with pytest.raises(SourceUnavailable, match="the card has no files"):
        source.read(artifact, SourceFile(path="x", sha256="0" * 64, bytes=1))


def test_source_with_files_is_refused() -> None:
    file = {"path": "x", "sha256": "0" * 64, "bytes": 1}
    with pytest.raises(ValidationError):
        CardSource.model_validate({"kind": "card", "files": {"weights": file}})


def test_digest_of_weights_is_that_of_the_numbers_on_the_card() -> None:
    assert isinstance(CARD.recipe, WholeImageRecipe)
    kernels = {**CARD.recipe.kernels, "blur": FilterKernel(numbers=(1.0,) * 9)}
    other = CARD.model_copy(update={"recipe": CARD.recipe.model_copy(update={"kernels": kernels})})
    assert len(CARD.weights_sha256) == 64
    assert other.weights_sha256 != CARD.weights_sha256
    assert CARD.model_copy(update={"summary": "other words"}).weights_sha256 == CARD.weights_sha256
