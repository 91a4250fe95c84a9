"""Only tensors that are plain memory are taken from a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model_zoo.formats.plain_state import is_plain_state

ODD = {
    "sparse": torch.zeros(2, 2).to_sparse(),
    "meta": torch.zeros(2, device="meta"),
    "number": 3,
}


def test_dictionary_of_tensors_is_plain() -> None:
    assert is_plain_state({"a": torch.zeros(2), "b": torch.nn.Parameter(torch.zeros(2, 3).T)})


@pytest.mark.parametrize("loaded", [None, [], {1: torch.zeros(2)}, {("a",): torch.zeros(2)}])
def test_anything_else_is_not(loaded: Any) -> None:
    assert not is_plain_state(loaded)


@pytest.mark.parametrize("kind", ODD)
def test_tensor_that_is_not_plain_memory_is_not(kind: str) -> None:
    assert not is_plain_state({"a": torch.zeros(2), "b": ODD[kind]})
