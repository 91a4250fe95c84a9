"""Real models for tests that carry the marker ``weights``."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import DebianSource, NpmSource, PypiSource
from model_zoo.catalog import Catalog
from model_zoo.errors import SourceUnavailable
from model_zoo.materialised import Materialised
from tests.support.paths import REPOSITORY

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


def names_with_tests() -> list[str]:
    """Models of the catalog with real weights whose tests run everywhere: without those that `make unit` does not fetch, which
    are too large or too many for it. Each of them has tests of its own, and golden cases that `zoo verify` asks."""
    catalog = Catalog.from_package()
    bases = re.search(r"^BASES := (.*)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert bases is not None
    fetched = {*catalog.default_names(), *bases[1].split()}
    remote = PypiSource | NpmSource | DebianSource
    return [
        name
        for name in catalog.pretrained_names()
        if name in fetched or not isinstance(catalog.get(name).source, remote)
    ]
