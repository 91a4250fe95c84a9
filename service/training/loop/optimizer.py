"""Which weights learn how fast: AdamW (Loshchilov and Hutter, arXiv:1711.05101) with rates by depth."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from service.training.hyperparameters import Hyperparameters

NUMBERED = re.compile(r"(?:layers?|blocks|stages|recurrences)\.(\d+)(?:\.(\d+))?\.|_l(\d+)")


def make_optimiser(network: nn.Module, knobs: Hyperparameters) -> torch.optim.AdamW:
    """AdamW over what has a gradient. Each group carries its `peak`, the rate that the schedule is a share of."""
    return torch.optim.AdamW(groups(network, knobs), lr=knobs.learning_rate, fused=False)


def groups(network: nn.Module, knobs: Hyperparameters) -> list[dict[str, Any]]:
    """Parameters by depth and by whether they decay.

    New layers learn at `learning_rate`; the backbone's last layer at `backbone_rate` times that, and each layer further down
    by `layer_decay` less (Howard and Ruder, ULMFiT, arXiv:1801.06146; Bao et al., BEiT, arXiv:2106.08254). Norms and biases
    are not decayed: they have nothing to overfit with.
    """
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    depths = depth_of([name for name, _ in named])
    deepest = max((depth for depth in depths.values() if depth is not None), default=0)
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        depth = depths[name]
        share = 1.0 if depth is None else knobs.backbone_rate * knobs.layer_decay ** (deepest - depth)
        decay = 0.0 if parameter.ndim < 2 else knobs.weight_decay or 0.0
        found.setdefault((share, decay), []).append(parameter)
    return [
        {"params": parameters, "peak": knobs.learning_rate * share, "lr": 0.0, "weight_decay": decay}
        for (share, decay), parameters in sorted(found.items(), key=lambda item: item[0])
    ]


def depth_of(names: list[str]) -> dict[str, int | None]:
    """Parameter → how many layers lie before it; None for what is new: the head, and low-rank updates.

    Both timm and transformers number their layers in their names (`blocks.3.1.`, `encoder.layer.5.`), so does torch in an LSTM
    (`weight_ih_l0`). What stands before the first of them in the state is the stem at depth 0; what stands behind the last is as
    deep as it gets.
    """
    depths: dict[str, int | None] = {}
    seen: dict[tuple[int, int], int] = {}
    for name in names:
        if name.startswith("head.") or ".lora_" in name:
            depths[name] = None
            continue
        number = NUMBERED.search(name)
        if number is not None:
            place = int(number[1] or number[3]), int(number[2] or 0)
            depths[name] = seen.setdefault(place, len(seen) + 1)
        else:
            depths[name] = len(seen) if not seen else len(seen) + 1
    return depths


def set_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Every group's rate becomes so much of its peak."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def schedule(step: int, steps: int, warmup_ratio: float) -> float:
    """Share of the peak rate at `step`, the first is 0: a line up to 1, then half a cosine down to 0 (SGDR, arXiv:1608.03983)."""
    warmup = round(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
