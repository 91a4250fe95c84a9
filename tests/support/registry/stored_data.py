"""Data sets of texts that stand in for those of a home."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from service.datasets.dataset import Example
from service.errors import NotFound
from service.types import TextInstance
from service.verification import held_out_trial


def store_texts(monkeypatch: pytest.MonkeyPatch, dataset: str, texts: Iterable[str]) -> dict[str, list[Example]]:
    """One data set; the checks of versions read what the returned mapping holds, by id."""
    sets = {dataset: [Example(TextInstance(t.encode()), None, "", t, f"row {i}") for i, t in enumerate(texts)]}

    def opened(home: Path, wanted: str) -> Sequence[Example]:
        if wanted not in sets:
            raise NotFound("dataset", wanted)
        return sets[wanted]

    monkeypatch.setattr(held_out_trial, "open_dataset", opened)
    return sets
