"""Real models for tests that carry the marker ``weights``."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.errors import SourceUnavailable
from model_zoo.materialised import Materialised

T = TypeVar("T")


def or_skip(fetch: Callable[[], T]) -> T:
    """The result of ``fetch``; the test is skipped without a network, unless components are required."""
    try:
        return fetch()
    except SourceUnavailable as error:
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            raise
        pytest.skip(f"real weights: {error}")


@dataclass(frozen=True)
class Real:
    """A model of the catalog with its real weights."""

    card: Card
    materialised: Materialised
    network: Network
