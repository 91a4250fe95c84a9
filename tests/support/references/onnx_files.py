"""ONNX files: small networks exported by torch, and graphs written by hand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

TOKENS, LONGEST = 50, 16


class TokenNetwork(nn.Module):
    """Ids and a mask → the mean of the embeddings → logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        weights = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(input_ids) * weights).sum(1) / weights.sum(1).clamp(min=1)
        return self.out(mean)


class SequenceNetwork(TokenNetwork):
    """As TokenNetwork, with logits of every element beside the mean."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mean = super().forward(input_ids, attention_mask)
        return self.out(self.embedding(input_ids)) + mean.unsqueeze(1)


class UnmaskedNetwork(TokenNetwork):
    """Takes a mask, and does not keep padding out of its answer."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.out(self.embedding(input_ids).mean(1)) + attention_mask[:, :1].float()


class CentredNetwork(nn.Module):
    """A row's answer depends on the other rows of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x - x.mean(0, keepdim=True))


def cnn() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()


def mlp() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


def token_network() -> nn.Module:
    torch.manual_seed(3)
    return TokenNetwork().eval()


def export(network: nn.Module, path: Path, inputs: Mapping[str, torch.Tensor], **axes: Mapping[int, str]) -> Path:
    """As users export a network. `axes`: those that vary, by tensor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_axes={name: dict(named) for name, named in axes.items()},
            dynamo=False,
        )
    return path


ROWS = {0: "rows"}


def cnn_file(path: Path) -> Path:
    return export(cnn(), path, {"image": torch.zeros(2, 3, 16, 16)}, image=ROWS, logits=ROWS)


def mlp_file(path: Path) -> Path:
    return export(mlp(), path, {"x": torch.zeros(2, 4)}, x=ROWS, logits=ROWS)


def single_row_file(path: Path) -> Path:
    return export(mlp(), path, {"x": torch.zeros(1, 4)})


def token_file(path: Path) -> Path:
    return _masked_file(token_network(), path, ROWS)


def _masked_file(network: nn.Module, path: Path, logits: Mapping[int, str]) -> Path:
    ids, both = torch.ones(2, 5, dtype=torch.int64), {0: "rows", 1: "tokens"}
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return export(network.eval(), path, inputs, input_ids=both, attention_mask=both, logits=logits)


def sequence_file(path: Path) -> Path:
    torch.manual_seed(5)
    return _masked_file(SequenceNetwork(), path, {0: "rows", 1: "tokens"})


def unmasked_file(path: Path) -> Path:
    torch.manual_seed(6)
    return _masked_file(UnmaskedNetwork(), path, ROWS)


def steps_file(path: Path) -> Path:
    torch.manual_seed(7)
    return export(mlp(), path, {"x": torch.zeros(2, 3, 4)}, x={0: "rows", 1: "steps"}, logits={0: "rows", 1: "steps"})


def centred_file(path: Path) -> Path:
    torch.manual_seed(4)
    return export(CentredNetwork().eval(), path, {"x": torch.zeros(2, 4)}, x=ROWS, logits=ROWS)


# ── by hand ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def weights(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def floats(name: str, *axes: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(axes))


def graph(
    nodes: Sequence[Any],
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    initializers: Sequence[Any] = (),
    **fields: Any,
) -> Any:
    """A model; by default `x` `[n, 4]` → `y` `[n, 3]` with the weights `w` `[4, 3]`."""
    made = helper.make_graph(
        list(nodes),
        "graph",
        list(inputs) or [floats("x", "n", 4)],
        list(outputs) or [floats("y", "n", 3)],
        list(initializers) or [weights("w", 4, 3)],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, **fields)


def product() -> Any:
    """The simplest network with weights."""
    return graph([helper.make_node("MatMul", ["x", "w"], ["y"])])


def saved(model: Any, path: Path, **options: Any) -> Path:
    onnx.save(model, str(path), **options)
    return path
