"""The optimizer, AdamW (Loshchilov and Hutter, arXiv:1711.05101), with learning rates by depth; and the schedule of the rates."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from service.training.hyperparameters import Hyperparameters

NUMBERED_LAYER = re.compile(r"(?:layers?|blocks|stages|recurrences)\.(\d+)(?:\.(\d+))?\.|_l(\d+)")


def make_optimizer(network: nn.Module, hparams: Hyperparameters) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient. Each group's `peak` is the rate that the schedule multiplies."""
    return torch.optim.AdamW(parameter_groups(network, hparams), lr=hparams.learning_rate, fused=False)


def parameter_groups(network: nn.Module, hparams: Hyperparameters) -> list[dict[str, Any]]:
    """Groups parameters by depth and by weight decay.

    New layers learn at `learning_rate`. The backbone's last layer learns at `backbone_rate` times that, and each layer below it
    at `layer_decay` times the rate of the one above (Howard and Ruder, ULMFiT, arXiv:1801.06146; Bao et al., BEiT,
    arXiv:2106.08254). Norms and biases have no weight decay: they cannot overfit.
    """
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    depths = parameter_depths([name for name, _ in named])
    deepest = max((depth for depth in depths.values() if depth is not None), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        depth = depths[name]
        share = 1.0 if depth is None else hparams.backbone_rate * hparams.layer_decay ** (deepest - depth)
        decay = 0.0 if parameter.ndim < 2 else hparams.weight_decay or 0.0
        groups.setdefault((share, decay), []).append(parameter)
    return [
        {"params": parameters, "peak": hparams.learning_rate * share, "lr": 0.0, "weight_decay": decay}
        for (share, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def parameter_depths(names: list[str]) -> dict[str, int | None]:
    """Parameter → the number of layers before it; None for new layers: the head, and low-rank updates.

    timm and transformers number their layers in their names (`blocks.3.1.`, `encoder.layer.5.`), and so does torch in an LSTM
    (`weight_ih_l0`). Parameters before the first numbered layer are the stem, at depth 0. Parameters after the last one are
    deeper than it.
    """
    depths: dict[str, int | None] = {}
    numbered: dict[tuple[str, int, int], int] = {}
    for name in names:
        if name.startswith("head.") or ".mask_head." in name or ".lora_" in name:
            depths[name] = None
            continue
        match = NUMBERED_LAYER.search(name)
        if match is not None:
            part = (
                name[: match.start()] if match[1] else ""
            )  # convolutions and attention may both count their layers from 0
            layer = part, int(match[1] or match[3]), int(match[2] or 0)
            depths[name] = numbered.setdefault(layer, len(numbered) + 1)
        else:
            depths[name] = len(numbered) + 1 if numbered else 0
    return depths


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Sets every group's learning rate to `share` of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def schedule(step: int, steps: int, warmup_ratio: float) -> float:
    """Share of the peak rate at `step`, from 0 on: linear warm-up to 1, then half a cosine down to 0 (SGDR, arXiv:1608.03983)."""
    warmup = round(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
