"""From which parts of an input a label follows: lines for a table, and heat maps over pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from service.cli.rendering.console import quoted

if TYPE_CHECKING:
    from PIL import Image

    from service.client import Attribution, HeatMap

MOST_LINES = 5
_OPACITY = 0.75
"""Of the strongest cell."""
_FOR, _AGAINST = (230, 30, 30), (30, 60, 230)


def attribution_lines(found: Attribution) -> list[str]:
    """What the score of the label loses without the words that weigh most, or without the cell of an image that does."""
    if found.heat_map is not None:
        return [_strongest(found.heat_map)]
    words = sorted(found.words, key=lambda word: -abs(word.weight))[:MOST_LINES]
    return [f"{_lost(word.weight)} without {quoted(word.text)}" for word in words]


def as_json(found: Attribution) -> dict[str, Any]:
    """As the answer's line of `--json` has it."""
    line: dict[str, Any] = {"label": found.label.name}
    if found.heat_map is None:
        words = [{"start": w.start, "end": w.end, "text": w.text, "weight": w.weight} for w in found.words]
        return {**line, "words": words}
    area = [found.heat_map.xmin, found.heat_map.ymin, found.heat_map.xmax, found.heat_map.ymax]
    return {**line, "heat_map": {"weights": found.heat_map.weights.tolist(), "area": area}}


def with_heat_map(image: Image.Image, heat_map: HeatMap) -> Image.Image:
    """A copy with the cells that speak for the label in red, and those against it in blue."""
    from PIL import Image

    strongest = float(np.abs(heat_map.weights).max()) or 1.0
    share = (heat_map.weights / strongest).astype(np.float32)
    left, top, right, bottom = (round(edge) for edge in (heat_map.xmin, heat_map.ymin, heat_map.xmax, heat_map.ymax))
    size = (max(1, right - left), max(1, bottom - top))
    smooth = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR))
    colours = np.where(smooth[..., None] > 0, np.array(_FOR, np.uint8), np.array(_AGAINST, np.uint8))
    opacity = np.clip(np.abs(smooth) * _OPACITY * 255, 0, 255).astype(np.uint8)
    copy = image.copy()
    copy.paste(Image.fromarray(colours), (left, top), Image.fromarray(opacity))
    return copy


def _strongest(heat_map: HeatMap) -> str:
    rows, columns = heat_map.weights.shape
    row, column = divmod(int(heat_map.weights.argmax()), columns)
    width, height = (heat_map.xmax - heat_map.xmin) / columns, (heat_map.ymax - heat_map.ymin) / rows
    x, y = heat_map.xmin + column * width, heat_map.ymin + row * height
    weight = float(heat_map.weights[row, column])
    return f"{_lost(weight)} without the part from ({x:.0f}, {y:.0f}) to ({x + width:.0f}, {y + height:.0f})"


def _lost(weight: float) -> str:
    return f"its score {'falls' if weight >= 0 else 'rises'} by {abs(weight):.3f}"
