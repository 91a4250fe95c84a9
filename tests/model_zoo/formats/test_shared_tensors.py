"""A tensor that a network has under several names is stored once, and is one parameter again when it is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from model_zoo.formats.shared_tensors import tied_names, with_tied, without_views


class Tied(nn.Module):
    """Embeddings that are the last layer as well, and a third name for them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.last = nn.Linear(3, 5)
        self.last.weight = self.embed.weight
        self.other = nn.Linear(3, 5, bias=False)
        self.other.weight = self.embed.weight


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_further_names_of_a_parameter_are_found(device: str) -> None:
    with torch.device(device):
        assert tied_names(Tied()) == {"last.weight": "embed.weight", "other.weight": "embed.weight"}


@pytest.mark.parametrize("assign", [True, False])
def test_tensors_stored_once_are_one_parameter_again(assign: bool) -> None:
    stored = {"embed.weight": torch.rand(5, 3), "last.bias": torch.rand(5)}
    network = Tied()
    network.load_state_dict(with_tied(stored, network), strict=True, assign=assign)
    assert network.last.weight is network.embed.weight is network.other.weight
    assert torch.equal(network.last.weight, stored["embed.weight"])


def test_tensors_stored_under_all_names_are_read_as_they_are() -> None:
    stored = {name: torch.rand(tensor.shape) for name, tensor in Tied().state_dict().items()}
    found = with_tied(stored, Tied())
    assert all(found[name] is tensor for name, tensor in stored.items()), found.keys()


def test_tensors_of_one_memory_are_copied_and_others_are_not() -> None:
    base = torch.arange(6.0)
    tensors: dict[str, Any] = {"left": base[:3], "right": base[3:], "alone": torch.ones(2)}
    found = without_views(tensors)
    assert found["alone"].data_ptr() == tensors["alone"].data_ptr()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert len({tensor.untyped_storage().data_ptr() for tensor in found.values()}) == 3
