"""Inputs on their way to a GPU: through pinned buffers that are kept, on a stream of their own. Not measured.

A copy from pageable memory waits for the device. From pinned memory it runs beside the kernels of another lane's batch, and
pinning is slow, so each lane keeps its buffers and lets them grow.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import torch


class Staging:
    """The pinned buffers and the copy stream of every lane that asks."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._of_lane = threading.local()

    def to_device(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copies on the device. Kernels that this thread starts afterwards wait for them."""
        lane = self._of_lane
        if not hasattr(lane, "stream"):
            lane.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            lane.buffers = {}
        compute = torch.cuda.current_stream(self._device)
        copies: dict[str, torch.Tensor] = {}
        with torch.cuda.stream(lane.stream):
            lane.stream.synchronize()  # the buffers' last copies have left before they are written anew
            for name, tensor in tensors.items():
                held = lane.buffers.get(name)
                if held is None or held.numel() < tensor.numel() or held.dtype != tensor.dtype:
                    held = lane.buffers[name] = torch.empty(tensor.numel(), dtype=tensor.dtype, pin_memory=True)
                pinned = held[: tensor.numel()].view(tensor.shape)
                pinned.copy_(tensor)
                copies[name] = pinned.to(self._device, non_blocking=True)
                copies[name].record_stream(compute)
        compute.wait_stream(lane.stream)
        return copies
