"""Number formats a network may run in, and which of them a device computes in by instructions of its own."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FLAGS = {"bf16": ("avx512_bf16", "amx_bf16", "bf16"), "fp16": ("amx_fp16", "avx512_fp16", "fp16")}


class InPrecision(nn.Module):
    """A network whose weights and floating inputs are of a reduced precision; floating outputs come back as float32."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self._dtype = DTYPES[precision]
        self.network = network.to(self._dtype)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Inputs and outputs as of the network."""
        given = {name: t.to(self._dtype) if t.is_floating_point() else t for name, t in inputs.items()}
        outputs: dict[str, Tensor] = self.network(**given)
        return {name: t.float() if t.is_floating_point() else t for name, t in outputs.items()}


def in_precision(network: nn.Module, precision: str) -> nn.Module:
    """The network in a precision. Casts it in place: fp32 cannot be had back."""
    return network if precision == "fp32" else InPrecision(network, precision)


def has_instructions(precision: str, device: str) -> bool:
    """Whether a device computes in a precision by instructions of its own; others emulate it, slower than fp32."""
    if precision == "fp32":
        return True
    if device.startswith("cuda"):
        return precision == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    flags = torch.cpu.get_capabilities()
    return any(flags.get(flag) for flag in _FLAGS[precision])
