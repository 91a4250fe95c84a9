"""Bases of jobs: an unknown one is rejected with similar names, and weights are fetched only where they are missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from model_zoo.errors import ZooModelError
from model_zoo.live_catalog import LiveCatalog
from model_zoo.store import Store
from service.errors import NotFound, NotReady
from service.jobs.base_catalog import BaseCatalog
from tests.support.jobs.fakes import BASE, catalog


class FakeStore:
    """Holds no weights until they are fetched."""

    def __init__(self, error: ZooModelError | None = None) -> None:
        self.fetched: list[str] = []
        self.error = error

    def find(self, card: Any) -> object | None:
        return SimpleNamespace() if card.name in self.fetched else None

    def materialise(self, card: Any) -> None:
        if self.error is not None:
            raise self.error
        self.fetched.append(card.name)


def bases(store: FakeStore, offline: bool = False) -> BaseCatalog:
    return BaseCatalog(LiveCatalog(catalog()), cast(Store, store), offline)


def test_unknown_base_is_not_found_with_similar_names() -> None:
    with pytest.raises(NotFound, match=r"unknown base model 'efficientnet_lite1'; did you mean .*'efficientnet_lite0'"):
        bases(FakeStore()).card("efficientnet_lite1")
    with pytest.raises(NotFound, match=r"the zoo has .*efficientnet_lite0"):
        bases(FakeStore()).card("qqqqqqqqqqqqqqqqqq")


def test_names_of_the_zoo_are_reserved() -> None:
    assert bases(FakeStore()).is_reserved(BASE)
    assert not bases(FakeStore()).is_reserved("flowers")


@pytest.mark.asyncio
async def test_missing_weights_are_fetched_once() -> None:
    store = FakeStore()
    for _ in range(2):
        await bases(store).fetch_weights(BASE)
    assert store.fetched == [BASE]


@pytest.mark.asyncio
async def test_base_without_trained_weights_needs_none() -> None:
    untrained = next(card.name for card in catalog() if card.source.kind == "initial")
    store = FakeStore()
    await bases(store, offline=True).fetch_weights(untrained)
    assert store.fetched == []


@pytest.mark.asyncio
async def test_missing_weights_on_an_offline_server_are_a_reason() -> None:
    with pytest.raises(NotReady, match=f"the server is offline; run `zoo pull {BASE}`"):
        await bases(FakeStore(), offline=True).fetch_weights(BASE)


@pytest.mark.asyncio
async def test_weights_that_cannot_be_fetched_are_a_reason_without_details() -> None:
    with pytest.raises(NotReady, match="could not be fetched; the server's log says why") as caught:
        await bases(FakeStore(ZooModelError("/secret/path"))).fetch_weights(BASE)
    assert "secret" not in caught.value.message
