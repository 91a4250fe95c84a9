"""Charts of the report as inline SVG in the page's colours. No library: the page has no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from service.training.evaluation.measurements import ReliabilityBin
from service.training.protocol import Metric

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 30, 38
COLOURS = {"train": "var(--a)", "validation": "var(--b)", "test": "var(--c)"}
OTHER_COLOUR = "var(--d)"
HIDDEN_METRICS = frozenset({"weight_decay", "learning_rate"})
"""Settings, which programs read; the page shows no chart of them."""
MAX_POINTS = 400
"""Of one line: there are no more pixels."""
LOGARITHMIC_RATIO = 50.0
"""An axis is logarithmic if the largest value ÷ the smallest is larger."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values → pixels."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], begin: float, end: float) -> Axis:
        """An axis that shows all of `values`."""
        low, high = min(values), max(values)
        if low > 0 and high / low > LOGARITHMIC_RATIO:
            return cls(math.log10(low), math.log10(high), begin, end, True)
        if low == high:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, begin, end)

    def at(self, value: float) -> float:
        """The position of a value, in pixels."""
        value = math.log10(value) if self.logarithmic else value
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """About four round values on the axis."""
        if self.logarithmic:
            decades = max(1, round((self.high - self.low) / 4))
            return [10.0**e for e in range(math.ceil(self.low), math.floor(self.high) + 1, decades)] or [10**self.low]
        raw = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def curve_charts(curves: Sequence[Metric]) -> list[tuple[str, Markup]]:
    """Name and SVG of a chart for each metric with at least two points. Its splits are the lines."""
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for metric in curves:
        if math.isfinite(metric.value) and metric.name not in HIDDEN_METRICS:
            lines.setdefault(metric.name, {}).setdefault(metric.split, []).append((metric.step, metric.value))
    return [
        (name, line_chart(f"{name} over steps", by_split, "step"))
        for name, by_split in lines.items()
        if any(len(points) > 1 for points in by_split.values())
    ]


def line_chart(title: str, lines: Mapping[str, Points], x_label: str) -> Markup:
    """Lines with a legend. `title` describes the chart for screen readers."""
    all_points = [point for points in lines.values() for point in points]
    x = Axis.over([0.0, *(p[0] for p in all_points)], LEFT, WIDTH - RIGHT)  # includes 0, so it is never logarithmic
    y = Axis.over([p[1] for p in all_points], HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y, x_label)
    for name, points in lines.items():
        colour = COLOURS.get(name, OTHER_COLOUR)
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in thinned(points))
        dash = ' stroke-dasharray="5 4"' if name == "validation" else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if len(points) == 1:
            a, b = points[0]
            parts.append(f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3" fill="{colour}"/>')
    for i, name in enumerate(lines):
        colour = COLOURS.get(name, OTHER_COLOUR)
        at = LEFT + 110 * i
        parts.append(f'<rect x="{at}" y="8" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 15}" y="17">{escape(name)}</text>')
    return _svg(title, parts)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """The share of correct predictions by confidence. A calibrated model is on the diagonal."""
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y, "how sure it was")
    for b in bins:
        top = y.at(b.accuracy)
        width, height = x.at(b.high) - x.at(b.low) - 2, y.at(0) - top
        tooltip = f"{b.count} examples: sure {b.confidence:.2f}, right {b.accuracy:.2f}"
        parts.append(
            f'<rect x="{x.at(b.low) + 1:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="var(--a)" opacity="0.55"><title>{tooltip}</title></rect>'
        )
        parts.append(f'<circle cx="{x.at(b.confidence):.1f}" cy="{top:.1f}" r="4" fill="var(--a)"/>')
    parts.append(
        f'<line x1="{x.at(0)}" y1="{y.at(0)}" x2="{x.at(1)}" y2="{y.at(1)}" stroke="currentColor" stroke-dasharray="4 4"/>'
    )
    return _svg("share that was right, by how sure the model was", parts)


def thinned(points: Points) -> Points:
    """At most about `MAX_POINTS` points, with the first and the last."""
    step = max(1, math.ceil(len(points) / MAX_POINTS))
    sample = list(points[::step])
    return sample if not points or sample[-1] == points[-1] else [*sample, points[-1]]


def _frame(x: Axis, y: Axis, x_label: str) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += [
        f'<text x="{x.at(value):.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>' for value in x.ticks()
    ]
    parts.append(f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="currentColor"/>')
    parts.append(f'<text x="{right}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>')
    return parts


def _svg(title: str, parts: Sequence[str]) -> Markup:
    # Every text in `parts` is a number from this module, or was escaped when it was added.
    body = "".join(parts)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return Markup(f"{head}<title>{escape(title)}</title>{body}</svg>")  # noqa: S704
