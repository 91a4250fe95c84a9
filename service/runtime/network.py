"""One network on one device: arrays in, arrays out.

The CUDA path (pinned staging buffers, a stream for copies beside the compute stream) uses torch's own calls; it is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from model_zoo.architectures.wrappers import Network
from service.runtime.precision import in_precision
from service.runtime.staging import Staging
from service.types import Array, Tensors


class Runtime(Protocol):
    """Runs the batches of a model: eager or compiled, in this process or in others."""

    @property
    def tier(self) -> str:
        """`eager` or `compiled`."""

    @property
    def compiler(self) -> str:
        """The compiler of a compiled network: `openvino`, `aotinductor`, `cuda_graphs`; empty for an eager one."""

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
        """Run one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""

    def free(self) -> None:
        """Release the weights. Batches that run already keep them until they end."""


class NetworkRuntime:
    """The eager tier: torch, operation by operation. Several lanes may call `run` at once."""

    tier = "eager"
    compiler = ""
    shared: SharedPart | None = None
    """The weights that other networks share; see `model_zoo/shared_weights.py`."""

    def __init__(self, network: torch.nn.Module, device: str, precision: str = "fp32") -> None:
        """Take over the network: it is moved to the device, and cast if the precision is not fp32."""
        self.device = device
        self.precision = precision
        self._device = torch.device(device)
        self._staging = Staging(self._device) if self._device.type == "cuda" else None
        # Convolutions of 4-D inputs run faster with channels innermost on every device that torch has kernels for.
        self._network: torch.nn.Module | None = in_precision(network, precision).to(self._device)
        if all(parameter.dim() < 5 for parameter in network.parameters()):  # the format has no 5-D weights
            self._network = self._network.to(memory_format=torch.channels_last)
        self.shared = _shared(network)

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers on the device; 0 after `free`."""
        if self._network is None:
            return 0
        tensors = [*self._network.parameters(), *self._network.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Run one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""
        network = self._network
        if network is None:
            raise RuntimeError("the network was freed")
        with torch.inference_mode():
            outputs: dict[str, torch.Tensor] = network(**self._to_device(tensors))
            return {
                name: np.asarray(t.float().cpu() if t.is_floating_point() else t.cpu()) for name, t in outputs.items()
            }

    def free(self) -> None:
        """Release the weights. Batches that run already keep them until they end."""
        self._network = self.shared = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _to_device(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        # A view of a gRPC message is read-only, which torch does not support; collate has copied it before.
        inputs = {name: torch.from_numpy(array) for name, array in tensors.items()}
        if self._staging is not None:
            inputs = self._staging.to_device(inputs)
        return {name: in_memory_format(tensor) for name, tensor in inputs.items()}


@dataclass(frozen=True, slots=True)
class SharedPart:
    """Weights of a network that other networks may use as well, in memory once."""

    digest: str
    """sha256 of the file of the weights."""
    bytes: int


def _shared(network: torch.nn.Module) -> SharedPart | None:
    """The weights that a network shares now; weights that were cast or moved are its own."""
    if not isinstance(network, Network) or network.shared is None:
        return None
    count = network.shared.bytes_in([*network.parameters(), *network.buffers()])
    if not count:
        network.shared = None
        return None
    return SharedPart(network.shared.digest, count)


def in_memory_format(tensor: torch.Tensor) -> torch.Tensor:
    """An input in the memory format of the networks: channels innermost if it has four axes, else contiguous."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor.contiguous()
