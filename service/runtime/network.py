"""One network on one device: arrays in, arrays out.

The CUDA path (pinned staging buffers, a stream for copies beside the one that computes) goes through torch's own calls; it has
not been measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from model_zoo.shared_weights import SharedWeights
from service.runtime.precision import in_precision
from service.runtime.staging import Staging
from service.types import Array, Tensors


class Runtime(Protocol):
    """What serves a model's batches, however it was made."""

    @property
    def tier(self) -> str:
        """`eager` or `compiled`."""

    @property
    def device(self) -> str:
        """As torch writes it: `cpu`, `cuda:0`."""

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers on the device; 0 after `free`."""

    @property
    def shared(self) -> SharedPart | None:
        """Weights that other networks may hold as well; None where it shares none, and after `free`."""

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""

    def free(self) -> None:
        """Lets go of the weights. Batches that already run keep theirs until they end."""


class NetworkRuntime:
    """The eager tier: torch, operation by operation. `run` may be called from several lanes."""

    tier = "eager"
    shared: SharedPart | None = None
    """What others hold as well; see `model_zoo/shared_weights.py`."""

    def __init__(self, network: torch.nn.Module, device: str, precision: str = "fp32") -> None:
        """Takes the network over: it is moved, and cast where the precision is not fp32."""
        self.device = device
        self.precision = precision
        self._device = torch.device(device)
        self._staging = Staging(self._device) if self._device.type == "cuda" else None
        # Convolutions of 4-D inputs run faster with channels innermost on every device torch has kernels for.
        self._network: torch.nn.Module | None = in_precision(network, precision).to(
            self._device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        self.shared = _shared(network)

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
            outputs: dict[str, torch.Tensor] = network(**self._to_device(tensors))
            return {
                name: np.asarray(t.float().cpu() if t.is_floating_point() else t.cpu()) for name, t in outputs.items()
            }

    def free(self) -> None:
        """Lets go of the weights. Batches that already run keep theirs until they end."""
        self._network = self.shared = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _to_device(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        # A view of a gRPC message is read-only, and torch has no such tensors; collate has copied by then.
        given = {name: torch.from_numpy(array) for name, array in tensors.items()}
        if self._staging is not None:
            given = self._staging.to_device(given)
        return {name: as_network_takes(tensor) for name, tensor in given.items()}


@dataclass(frozen=True, slots=True)
class SharedPart:
    """Weights of a network that others may hold as well, in memory once."""

    digest: str
    """sha256 of the file that they came from."""
    bytes: int


def _shared(network: torch.nn.Module) -> SharedPart | None:
    """What a network shares as it is now; what was cast or moved it holds alone."""
    held: SharedWeights | None = getattr(network, "shared", None)
    if held is None:
        return None
    count = held.bytes_in([*network.parameters(), *network.buffers()])
    if not count:
        network.shared = None  # type: ignore[assignment]  # an attribute of Network, which says so
        return None
    return SharedPart(held.digest, count)


def as_network_takes(tensor: torch.Tensor) -> torch.Tensor:
    """An input in the order of memory that networks are prepared for: channels innermost where there are four axes."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor.contiguous()
