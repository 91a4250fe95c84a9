"""Draws a network of linear layers as a graph, with its weights: `python examples/course/graph.py MODEL FILE.svg`.

The server names the inputs; the weights are those of the file that ships with Zoo. Blue edges have positive weights, red ones
negative weights; a wider edge has a larger weight.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from service.client import Client

TRAINED = Path(__file__).resolve().parents[2] / "model_zoo" / "trained"
ROW, LEFT, GAP, RADIUS = 62, 120, 150, 20
FEW = 5
"""Edges of a network that has room for their numbers."""


def layers(model: str) -> list[tuple[Any, Any]]:
    """Weights (units, inputs) and biases (units) of each layer."""
    state = load_file(TRAINED / f"{model}.safetensors")
    names = sorted(name.removesuffix(".weight") for name in state if name.endswith(".weight"))
    return [(state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]


def places(units: int, column: int, height: int) -> list[tuple[float, float]]:
    """The middle of each unit of a column."""
    top = (height - (units - 1) * ROW) / 2
    return [(LEFT + column * GAP, top + unit * ROW) for unit in range(units)]


def drawing(inputs: list[str], network: list[tuple[Any, Any]]) -> str:
    """The graph as SVG."""
    sizes = [len(inputs), *(len(bias) for _, bias in network)]
    height = max(sizes) * ROW + 20
    columns = [places(units, column, height) for column, units in enumerate(sizes)]
    edges, units, texts = [], [], []
    for column, (weights, bias) in enumerate(network):
        for unit, (x, y) in enumerate(columns[column + 1]):
            for source, (x0, y0) in enumerate(columns[column]):
                weight = float(weights[unit, source])
                colour = "#2563eb" if weight > 0 else "#dc2626"
                width = min(8.0, 0.5 + 4 * abs(weight))
                edges.append(
                    f'<path d="M{x0:.0f} {y0:.0f}L{x:.0f} {y:.0f}" stroke="{colour}" stroke-width="{width:.1f}"/>'
                )
                if weights.size <= FEW:
                    texts.append(f'<text x="{x0 + 34:.0f}" y="{y0 - 6 + (y - y0) * 0.2:.0f}">{weight:+.2f}</text>')
            units.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{RADIUS}"/>')
            texts.append(f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{float(bias[unit]):+.2f}</text>')
    for name, (x, y) in zip(inputs, columns[0], strict=True):
        units.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="6"/>')
        texts.append(f'<text x="{x - 14:.0f}" y="{y + 4:.0f}" text-anchor="end">{name}</text>')
    x, y = columns[-1][0]
    texts.append(f'<text x="{x + RADIUS + 8:.0f}" y="{y + 4:.0f}">price</text>')
    size = f'width="{x + RADIUS + 60:.0f}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
            '<rect width="100%" height="100%" fill="white"/>',
            '<g fill="none">',
            *edges,
            '</g><g fill="white" stroke="black">',
            *units,
            "</g>",
            *texts,
            "</svg>\n",
        ]
    )


def main(model: str, file: Path) -> None:
    """Draw a served model."""
    with Client(os.environ.get("ZOO_SERVER", "127.0.0.1:8001")) as zoo:
        inputs = [column.name for column in zoo.model(model).columns]
    file.parent.mkdir(parents=True, exist_ok=True)
    network = layers(model)
    file.write_text(drawing(inputs, network), encoding="utf-8")
    shape = "-".join(str(size) for size in [len(inputs), *(len(bias) for _, bias in network)])
    print(f"{model}: {shape}, {sum(weights.size + bias.size for weights, bias in network)} weights, in {file}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
