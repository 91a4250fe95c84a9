"""From the rounds of a report to figures: medians, and ratios taken within a round before the median."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

Round = dict[str, Any]
"""Figures of one round, nested by scenario, server and so on."""


def middle(rounds: Sequence[Round], *path: str) -> float | None:
    """The median over the rounds of the figure at `path`; None if no round has it."""
    found = [value for value in (_at(one, path) for one in rounds) if value is not None]
    return statistics.median(found) if found else None


def ratio(rounds: Sequence[Round], above: Sequence[str], below: Sequence[str]) -> float | None:
    """The median of the ratio within each round; None if no round has both sides.

    A ratio of medians would compare one participant's quiet round with another's busy one.
    """
    found = []
    for one in rounds:
        a, b = _at(one, above), _at(one, below)
        if a is not None and b:
            found.append(a / b)
    return statistics.median(found) if found else None


def spread(rounds: Sequence[Round], *path: str) -> float | None:
    """(largest − smallest) ÷ median over the rounds, a measure of noise. None for fewer than two rounds."""
    found = [value for value in (_at(one, path) for one in rounds) if value is not None]
    return (max(found) - min(found)) / statistics.median(found) if len(found) > 1 and statistics.median(found) else None


def best(rounds: Sequence[Round], names: Sequence[str], path: Callable[[str], Sequence[str]]) -> str | None:
    """The name whose figure is the largest."""
    figures = {name: middle(rounds, *path(name)) for name in names}
    known = {name: figure for name, figure in figures.items() if figure is not None}
    return max(known, key=lambda name: known[name]) if known else None


def _at(figures: Round, path: Sequence[str]) -> float | None:
    value: Any = figures
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return None if value is None else float(value)


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The earlier measurements of a case, updated by new ones. A scenario in both is taken from `now`; servers that are measured
    now are removed from `absent`; the peak memory is the larger of both."""
    result = {**before, **now}
    for key in set(before) & set(now):
        if isinstance(before[key], dict) and isinstance(now[key], dict):
            result[key] = {**before[key], **now[key]}
    for name in set(before.get("memory", {})) & set(now.get("memory", {})):
        result["memory"][name] = max(before["memory"][name], now["memory"][name], key=itemgetter("peak_mib"))
    if "absent" in result and "settings" in now:
        result["absent"] = {name: reason for name, reason in result["absent"].items() if name not in now["settings"]}
    if "rounds" in now:
        result.pop("failed", None)
    if "sentinel" in before and "sentinel" in now:
        counts = {key: before["sentinel"][key] + now["sentinel"][key] for key in ("measured", "discarded", "unsteady")}
        result["sentinel"] = {**now["sentinel"], **counts}
    if "rounds" in before and "rounds" in now:
        none: Round = {}
        pairs = itertools.zip_longest(before["rounds"], now["rounds"], fillvalue=none)
        result["rounds"] = [{**old, **new} for old, new in pairs]
        result["scenarios"] = list(dict.fromkeys([*before["scenarios"], *now["scenarios"]]))
    return result


def storable(value: Any) -> Any:
    """A report for JSON: figures that are not finite (a median of no answers) become null."""
    if isinstance(value, dict):
        return {str(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
