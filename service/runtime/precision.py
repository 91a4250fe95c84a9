"""Number formats a network may run in, and which of them a device computes in by instructions of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FLAGS = {"bf16": ("avx512_bf16", "amx_bf16", "bf16"), "fp16": ("amx_fp16", "avx512_fp16", "fp16")}


class InPrecision(nn.Module):
    """A network whose weights and floating inputs are of a reduced precision; floating outputs come back as float32.

    Modules that the network's card keeps in fp32 (`Network.keep_in_fp32`) are cast around, not cast.
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self._dtype = DTYPES[precision]
        kept = {name: copy.deepcopy(network.get_submodule(name)) for name in getattr(network, "keep_in_fp32", ())}
        self.network = network.to(self._dtype)
        for name, module in kept.items():
            self.network.set_submodule(name, _Kept(module, self._dtype))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Inputs and outputs as of the network."""
        given = {name: t.to(self._dtype) if t.is_floating_point() else t for name, t in inputs.items()}
        outputs: dict[str, Tensor] = self.network(**given)
        return {name: t.float() if t.is_floating_point() else t for name, t in outputs.items()}


class _Kept(nn.Module):
    """A module in fp32 among others of a reduced precision."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x.float())
        return out.to(self._dtype)


def in_precision(network: nn.Module, precision: str) -> nn.Module:
    """The network in a precision. Casts it in place: fp32 cannot be had back."""
    return network if precision == "fp32" else InPrecision(network, precision)


def fold_batch_norms(network: nn.Module, example: dict[str, Tensor]) -> None:
    """Multiplies every batch norm that follows a convolution into its weights, in place and in fp32 (evaluation mode only).

    To be done before weights are cast: a compiler that folds later rounds them a second time. Which norm follows which
    convolution is seen in a run on `example`, the network's inputs; where modules share one, it stays as it is.
    """
    parents = {id(m): (parent, name) for parent in network.modules() for name, m in parent.named_children()}
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # keeps the tensors, so that no identity is used twice
    calls: dict[int, int] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def after_convolution(module: nn.Module, _: Any, out: Tensor) -> None:
        calls[id(module)] = calls.get(id(module), 0) + 1
        made[id(out)] = module, out

    def before_norm(module: nn.Module, given: Sequence[Any]) -> None:
        calls[id(module)] = calls.get(id(module), 0) + 1
        if id(given[0]) in made:
            pairs.append((made[id(given[0])][0], module))

    hooks = [m.register_forward_hook(after_convolution) for m in network.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(before_norm) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.inference_mode():
        network(**example)
    for hook in hooks:
        hook.remove()
    for convolution, norm in pairs:
        if calls[id(convolution)] == calls[id(norm)] == 1:
            parent, name = parents[id(convolution)]
            setattr(parent, name, fuse_conv_bn_eval(convolution, norm))  # type: ignore[type-var, arg-type]
            parent, name = parents[id(norm)]
            # timm's norms carry what comes after them, an activation for one, as children in their order.
            setattr(parent, name, nn.Sequential(*norm.children()))


def has_instructions(precision: str, device: str) -> bool:
    """Whether a device computes in a precision by instructions of its own; others emulate it, slower than fp32."""
    if precision == "fp32":
        return True
    if device.startswith("cuda"):
        return precision == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    flags = torch.cpu.get_capabilities()
    return any(flags.get(flag) for flag in _FLAGS[precision])
