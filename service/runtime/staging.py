"""Copies of inputs to a GPU, through persistent pinned buffers and on a stream of their own. Not measured.

A copy from pageable memory waits for the device. A copy from pinned memory runs beside the kernels of another lane's batch.
Pinning is slow, so each lane keeps its buffers and lets them grow.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import torch


class _LaneState(threading.local):
    """The stream and the buffers of the calling thread."""

    stream: torch.cuda.Stream | None = None
    buffers: dict[str, torch.Tensor]


class Staging:
    """The pinned buffers and the copy stream of every lane."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lanes = _LaneState()

    def to_device(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Copies on the device. Kernels that this thread starts afterwards wait for the copies."""
        lane = self._lanes
        if lane.stream is None:
            lane.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            lane.buffers = {}
        compute = torch.cuda.current_stream(self._device)
        copies: dict[str, torch.Tensor] = {}
        with torch.cuda.stream(lane.stream):
            lane.stream.synchronize()  # the last copies from the buffers end before the buffers are written again
            for name, tensor in tensors.items():
                buffer = lane.buffers.get(name)
                if buffer is None or buffer.numel() < tensor.numel() or buffer.dtype != tensor.dtype:
                    buffer = lane.buffers[name] = torch.empty(tensor.numel(), dtype=tensor.dtype, pin_memory=True)
                pinned = buffer[: tensor.numel()].view(tensor.shape)
                pinned.copy_(tensor)
                copies[name] = pinned.to(self._device, non_blocking=True)
                copies[name].record_stream(compute)
        compute.wait_stream(lane.stream)
        return copies
