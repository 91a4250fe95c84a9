"""Shared by the tests of the methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training.data_sets import (
    home_with_weights,
)

BASES = ("efficientnet_lite0", "all_minilm_l6_v2", "char_lstm", "speaker_lstm")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, served: object, zoo_home: Path) -> Path:
    for name in BASES:
        served(name)  # type: ignore[operator]  # fetched, or the test is skipped
    return home_with_weights(tmp_path_factory.mktemp("methods"), zoo_home)
