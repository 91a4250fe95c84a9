"""Charts of the report as inline SVG, drawn by hand: no library's script, and they take the page's colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from service.training.evaluation.evaluate import Bin
from service.training.protocol import Metric

WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 30, 38
COLOURS = {"train": "var(--a)", "validation": "var(--b)", "test": "var(--c)"}
OTHER_COLOUR = "var(--d)"
HIDDEN = frozenset({"weight_decay", "learning_rate"})
"""Metrics that are settings: for programs, not for people."""
MOST_POINTS = 400
"""Of one line: more than there are pixels says nothing."""
LARGE_RATIO = 50.0
"""Largest ÷ smallest beyond which an axis is logarithmic."""

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
        """One that shows all of `values`."""
        low, high = min(values), max(values)
        if low > 0 and high / low > LARGE_RATIO:
            return cls(math.log10(low), math.log10(high), begin, end, True)
        if low == high:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, begin, end)

    def at(self, value: float) -> float:
        """Where a value stands, in pixels."""
        value = math.log10(value) if self.logarithmic else value
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values within it, four or so."""
        if self.logarithmic:
            decades = max(1, round((self.high - self.low) / 4))
            return [10.0**e for e in range(math.ceil(self.low), math.floor(self.high) + 1, decades)] or [10**self.low]
        raw = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def curve_charts(curves: Sequence[Metric]) -> list[tuple[str, Markup]]:
    """A chart for each metric that has at least two points, its splits as lines: title and SVG."""
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for metric in curves:
        if math.isfinite(metric.value) and metric.name not in HIDDEN:
            lines.setdefault(metric.name, {}).setdefault(metric.split, []).append((metric.step, metric.value))
    return [
        (name, line_chart(f"{name} over steps", by_split, "step"))
        for name, by_split in lines.items()
        if any(len(points) > 1 for points in by_split.values())
    ]


def line_chart(title: str, lines: Mapping[str, Points], along: str) -> Markup:
    """Lines with a legend. What there is to see is also in `title`, for those who cannot."""
    everything = [point for points in lines.values() for point in points]
    x = Axis.over([0.0, *(p[0] for p in everything)], LEFT, WIDTH - RIGHT)  # with 0, it is never logarithmic
    y = Axis.over([p[1] for p in everything], HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y, along)
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


def reliability_chart(bins: Sequence[Bin]) -> Markup:
    """How often the model was right, by how sure it was; on the diagonal it is as sure as it should be."""
    x, y = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    parts = _frame(x, y, "how sure it was")
    for b in bins:
        top = y.at(b.accuracy)
        width, height = x.at(b.high) - x.at(b.low) - 2, y.at(0) - top
        said = f"{b.count} examples: sure {b.confidence:.2f}, right {b.accuracy:.2f}"
        parts.append(
            f'<rect x="{x.at(b.low) + 1:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="var(--a)" opacity="0.55"><title>{said}</title></rect>'
        )
        parts.append(f'<circle cx="{x.at(b.confidence):.1f}" cy="{top:.1f}" r="4" fill="var(--a)"/>')
    parts.append(
        f'<line x1="{x.at(0)}" y1="{y.at(0)}" x2="{x.at(1)}" y2="{y.at(1)}" stroke="currentColor" stroke-dasharray="4 4"/>'
    )
    return _svg("share that was right, by how sure the model was", parts)


def thinned(points: Points) -> Points:
    """At most `MOST_POINTS`, the first and the last among them."""
    step = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = list(points[::step])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _frame(x: Axis, y: Axis, along: str) -> list[str]:
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
    parts.append(f'<text x="{right}" y="{HEIGHT - 4}" text-anchor="end">{escape(along)}</text>')
    return parts


def _svg(title: str, parts: Sequence[str]) -> Markup:
    # Every text in `parts` is a number of ours or has been escaped where it was put in.
    body = "".join(parts)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return Markup(f"{head}<title>{escape(title)}</title>{body}</svg>")  # noqa: S704
