"""Number formats of a network, and those for which a device has instructions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model_zoo.architectures.wrappers import Network

Precision = Literal["fp32", "bf16", "fp16", "int8"]

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FLAGS = {"bf16": ("avx512_bf16", "amx_bf16", "bf16"), "fp16": ("amx_fp16", "avx512_fp16", "fp16")}


class InPrecision(nn.Module):
    """A network whose weights and floating inputs have a reduced precision; floating outputs are float32.

    Modules that the card keeps in fp32 (`Network.keep_in_fp32`) stay in fp32; their inputs and outputs are cast.
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self._dtype = DTYPES[precision]
        names = network.keep_in_fp32 if isinstance(network, Network) else ()
        in_fp32 = {name: copy.deepcopy(network.get_submodule(name)) for name in names}
        self.network = network.to(self._dtype)
        for name, module in in_fp32.items():
            self.network.set_submodule(name, _InFp32(module, self._dtype))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Inputs and outputs of the network."""
        cast = {name: t.to(self._dtype) if t.is_floating_point() else t for name, t in inputs.items()}
        outputs: dict[str, Tensor] = self.network(**cast)
        return {name: t.float() if t.is_floating_point() else t for name, t in outputs.items()}


class _InFp32(nn.Module):
    """A module in fp32 among modules of a reduced precision."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x.float())
        return out.to(self._dtype)


def in_precision(network: nn.Module, precision: str) -> nn.Module:
    """The network in a precision. It is cast in place; the fp32 weights are lost."""
    return network if precision == "fp32" else InPrecision(network, precision)


def fold_batch_norms(network: nn.Module, example: dict[str, Tensor]) -> None:
    """Fold every batch norm that follows a convolution into the convolution's weights, in place and in fp32 (evaluation mode
    only).

    Call it before the weights are cast: a compiler that folds later rounds them a second time. A run on `example`, the network's
    inputs, shows which norm follows which convolution. A convolution or norm that is called more than once is not folded.
    """
    parents = {id(m): (parent, name) for parent in network.modules() for name, m in parent.named_children()}
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}  # holds the tensors, so that no id is reused
    calls: dict[int, int] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def after_convolution(module: nn.Module, _: Any, out: Tensor) -> None:
        calls[id(module)] = calls.get(id(module), 0) + 1
        outputs[id(out)] = module, out

    def before_norm(module: nn.Module, inputs: Sequence[Any]) -> None:
        calls[id(module)] = calls.get(id(module), 0) + 1
        if id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], module))

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
            # timm's norms hold the modules that follow, such as an activation, as children in their order.
            setattr(parent, name, nn.Sequential(*norm.children()))


def load_precision(option: str | None) -> str:
    """The precision in which a network is loaded, `auto` for one that begins in fp32. int8 comes later, as a compiled tier."""
    return "auto" if option in (None, "int8") else option


def has_instructions(precision: str, device: str) -> bool:
    """Whether a device has instructions for a precision; other devices emulate it, slower than fp32."""
    if precision == "fp32":
        return True
    if device.startswith("cuda"):
        return precision == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    flags = torch.cpu.get_capabilities()
    return any(flags.get(flag) for flag in _FLAGS[precision])
