"""A small network of convolutions, and its conversion to OpenVINO's format. Imports OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from service.runtime.compilers import openvino_conversion
from service.runtime.compilers.compiled_cache import CompiledPackage

SIZE, MOST_ROWS = 16, 8
SHAPE = (4, 3, SIZE, SIZE)


class Network(nn.Module):
    """Convolutions with ReLU6, as of MobileNet, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for layer in (self.first, self.second, self.third):
            x = nn.functional.hardtanh(layer(x), 0.0, 6.0, inplace=True)
        features = x.mean((2, 3))
        return {"logits": self.last(features), "features": features}


def network() -> Network:
    """With seeded weights."""
    torch.manual_seed(3)
    return Network().eval()


def converted(
    folder: Path, keep_in_fp32: tuple[str, ...] = (), quantise: Callable[[Any, Collection[str]], Any] | None = None
) -> CompiledPackage:
    """The files of the network in OpenVINO's format."""
    rows = Dim("rows", min=1, max=MOST_ROWS)
    sizes = [[(1, MOST_ROWS), *((size, size) for size in SHAPE[1:])]]
    made = network()
    with torch.inference_mode():
        program = torch.export.export(made, (torch.ones(SHAPE),), dynamic_shapes=({0: rows},))
        openvino_conversion.convert(program, folder, sizes, keep_in_fp32, quantise)
    return CompiledPackage(folder, {}, ("x",), ("logits", "features"), 1.0)


def batch(rows: int) -> dict[str, np.ndarray]:
    """Seeded by its number of rows."""
    return {"x": np.random.default_rng(rows).standard_normal((rows, *SHAPE[1:]), np.float32)}
