"""Networks whose files in this folder torch's newer exporter wrote (`torch.onnx.export(…, dynamo=True)`).

The exporter needs the package onnxscript, which the tests do not. To write the files again, in an environment that has it:

    python -m tests.support.references.dynamo.networks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

FILES = Path(__file__).parent


class AttentiveNetwork(nn.Module):
    """Ids and a mask → a layer of a Transformer → the mean → logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        mask = attention_mask[..., None].to(hidden.dtype)
        return self.head((hidden * mask).sum(1) / mask.sum(1))


class SeriesNetwork(nn.Module):
    """Five steps of four numbers → an LSTM → logits of the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(series)[0][:, -1])


def _photo() -> nn.Module:
    convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    return nn.Sequential(
        convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


MAKERS: Mapping[str, Callable[[], nn.Module]] = {
    "photo": _photo,
    "tokens": AttentiveNetwork,
    "series": SeriesNetwork,
}


def network(name: str) -> nn.Module:
    """The network of a file, with the same weights."""
    torch.manual_seed(21)
    return MAKERS[name]().eval()


def rows(name: str, count: int) -> dict[str, torch.Tensor]:
    """Inputs by name."""
    random = torch.Generator().manual_seed(count)
    if name == "photo":
        return {"pixel_values": torch.rand(count, 3, 32, 32, generator=random)}
    if name == "series":
        return {"series": torch.rand(count, 5, 4, generator=random)}
    ids = torch.randint(1, 50, (count, 7), generator=random)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def main() -> None:
    """Writes the files; that of photos has its weights in a file beside it, as the exporter does by default."""
    import onnx

    batch, length = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", min=2, max=128)
    for name in MAKERS:
        given = rows(name, 2)
        torch.onnx.export(
            network(name),
            tuple(given.values()),
            FILES / f"{name}.onnx",
            input_names=list(given),
            output_names=["logits"],
            dynamic_shapes=tuple({0: batch, 1: length} if name == "tokens" else {0: batch} for _ in given),
            dynamo=True,
            external_data=name == "photo",
            verbose=False,
        )
        graph = onnx.load(FILES / f"{name}.onnx", load_external_data=False)
        for node in graph.graph.node:  # the lines of code that it comes from, with paths
            del node.metadata_props[:]
        (FILES / f"{name}.onnx").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    main()
