"""Tensors that share memory, of which safetensors stores none."""

from collections import Counter
from collections.abc import Mapping

import torch

__all__ = ["without_views"]


def without_views(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, each contiguous and the only one in its memory. Those that are so already are not copied."""
    owners = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    return {name: _own(tensor.detach(), owners) for name, tensor in tensors.items()}


def _own(tensor: torch.Tensor, owners: Mapping[int, int]) -> torch.Tensor:
    storage = tensor.untyped_storage()
    alone = owners[storage.data_ptr()] == 1 and storage.nbytes() == tensor.nbytes
    if alone and tensor.is_contiguous():
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)
