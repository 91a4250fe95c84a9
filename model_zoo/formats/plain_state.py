"""What a checkpoint may hold: names, and tensors that are plain memory."""

from typing import Any

import torch

__all__ = ["is_plain", "is_plain_state"]


def is_plain_state(loaded: Any) -> bool:
    """Whether an object is a dictionary of tensors by name, all of them plain."""
    if not isinstance(loaded, dict):
        return False
    return all(isinstance(name, str) and is_plain(tensor) for name, tensor in loaded.items())


def is_plain(tensor: Any) -> bool:
    """Whether an object is a dense tensor with its numbers in the memory of this process: not sparse, quantised or nested, and
    not a shape alone, as on the device ``meta``."""
    if not isinstance(tensor, torch.Tensor):
        return False
    dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_nested
    return dense and tensor.device.type == "cpu"
