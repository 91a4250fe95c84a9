"""Draws the sixteen kernels that `fashion_cnn` has learned, and prints three of them:
`python examples/course/kernels.py FILE.svg`."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.numpy import load_file

WEIGHTS = Path(__file__).resolve().parents[2] / "model_zoo" / "trained" / "fashion_cnn.safetensors"
CELL, GAP, IN_A_ROW, PRINTED = 18, 14, 8, 3


def main(file: Path) -> None:
    """Draw light cells for positive numbers, dark ones for negative numbers."""
    kernels = load_file(WEIGHTS)["blocks.0.conv.weight"].sum(axis=1)  # (16, 3, 3): the three colours have equal weights
    step = 3 * CELL + GAP
    cells = []
    for number, kernel in enumerate(kernels / abs(kernels).max(axis=(1, 2), keepdims=True)):
        left, top = GAP + number % IN_A_ROW * step, GAP + number // IN_A_ROW * step
        for row in range(3):
            for column in range(3):
                grey = round(127.5 * (1 + float(kernel[row, column])))
                x, y = left + column * CELL, top + row * CELL
                cells.append(f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="rgb({grey},{grey},{grey})"/>')
    size = f'width="{GAP + IN_A_ROW * step}" height="{GAP + len(kernels) // IN_A_ROW * step}"'
    ground = '<rect width="100%" height="100%" fill="#93c5fd"/>'
    file.parent.mkdir(parents=True, exist_ok=True)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', ground, *cells, "</svg>\n"]
    file.write_text("\n".join(svg), encoding="utf-8")
    for number, kernel in enumerate(kernels[:PRINTED], start=1):
        print(f"kernel {number}: {','.join(f'{value:.2f}' for value in kernel.ravel())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
