"""Tensors that share memory, of which safetensors stores none."""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["tied_names", "with_tied", "without_views"]


def without_views(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, each contiguous and the only one in its memory. Those that are so already are not copied."""
    owners = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    return {name: _own(tensor.detach(), owners) for name, tensor in tensors.items()}


def tied_names(network: nn.Module) -> dict[str, str]:
    """Further names of parameters that a network has under several, such as its embeddings as its last layer → the first name of
    each. A network on the device ``meta`` will do."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        known = first.setdefault(id(tensor), name)
        if known != name:
            found[name] = known
    return found


def with_tied(stored: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Stored tensors, with those that are stored under the first of their names only under all of their names.

    Where a network takes the tensors for its own (``assign``), those of several names stay one parameter.
    """
    found = dict(stored)
    for name, first in tied_names(network).items():
        if name not in found and first in found:
            if not isinstance(found[first], nn.Parameter):
                found[first] = nn.Parameter(found[first], requires_grad=False)
            found[name] = found[first]
    return found


def _own(tensor: torch.Tensor, owners: Mapping[int, int]) -> torch.Tensor:
    storage = tensor.untyped_storage()
    alone = owners[storage.data_ptr()] == 1 and storage.nbytes() == tensor.nbytes
    if alone and tensor.is_contiguous():
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)
