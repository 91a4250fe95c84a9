"""One network on one device: arrays in, arrays out.

The CUDA path (pinned staging, copies that do not block) goes through torch's own calls; it has not been measured.
"""

from __future__ import annotations

import numpy as np
import torch

from service.types import Array, Tensors


class NetworkRuntime:
    """Holds a network's weights on a device and runs batches through it. `run` may be called from several lanes."""

    precision = "fp32"

    def __init__(self, network: torch.nn.Module, device: str) -> None:
        self.device = device
        self._device = torch.device(device)
        # Convolutions of 4-D inputs run faster with channels innermost on every device torch has kernels for.
        self._network: torch.nn.Module | None = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers on the device; 0 after `free`."""
        if self._network is None:
            return 0
        held = [*self._network.parameters(), *self._network.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""
        network = self._network
        if network is None:
            raise RuntimeError("the network was freed")
        with torch.inference_mode():
            outputs: dict[str, torch.Tensor] = network(**{name: self._to_device(a) for name, a in tensors.items()})
            return {
                name: np.asarray(t.float().cpu() if t.is_floating_point() else t.cpu()) for name, t in outputs.items()
            }

    def free(self) -> None:
        """Lets go of the weights. Batches that already run keep theirs until they end."""
        self._network = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _to_device(self, array: Array) -> torch.Tensor:
        # A view of a gRPC message is read-only, and torch has no such tensors; collate has copied by then.
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
