"""From a report's rounds to the figures that are told: medians, and ratios taken within a round before the median."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

Round = dict[str, Any]


def middle(rounds: Sequence[Round], *path: str) -> float | None:
    """The median over the rounds of the figure at `path`; None where no round has it."""
    found = [value for value in (_at(turn, path) for turn in rounds) if value is not None]
    return statistics.median(found) if found else None


def ratio(rounds: Sequence[Round], above: Sequence[str], below: Sequence[str]) -> float | None:
    """The median of the ratio within each round; None where no round has both sides.

    A ratio of medians would compare one participant's quiet round with another's busy one.
    """
    found = []
    for turn in rounds:
        a, b = _at(turn, above), _at(turn, below)
        if a is not None and b:
            found.append(a / b)
    return statistics.median(found) if found else None


def spread(rounds: Sequence[Round], *path: str) -> float | None:
    """(largest − smallest) ÷ median over the rounds: how far to trust the figure. None for fewer than two rounds."""
    found = [value for value in (_at(turn, path) for turn in rounds) if value is not None]
    return (max(found) - min(found)) / statistics.median(found) if len(found) > 1 and statistics.median(found) else None


def best(rounds: Sequence[Round], names: Sequence[str], path: Callable[[str], Sequence[str]]) -> str | None:
    """The name whose figure is the largest."""
    figures = {name: middle(rounds, *path(name)) for name in names}
    known = {name: figure for name, figure in figures.items() if figure is not None}
    return max(known, key=lambda name: known[name]) if known else None


def _at(turn: Round, path: Sequence[str]) -> float | None:
    value: Any = turn
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return None if value is None else float(value)


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A case measured before with what was measured of it now; a scenario that both have is now's, whoever takes part now is
    absent no more, and peaks of memory are those of all that was measured."""
    result = {**before, **now}
    for key in set(before) & set(now):
        if isinstance(before[key], dict) and isinstance(now[key], dict):
            result[key] = {**before[key], **now[key]}
    for name in set(before.get("memory", {})) & set(now.get("memory", {})):
        result["memory"][name] = max(before["memory"][name], now["memory"][name], key=itemgetter("peak_mib"))
    if "absent" in result and "settings" in now:
        result["absent"] = {name: why for name, why in result["absent"].items() if name not in now["settings"]}
    if "rounds" in now:
        result.pop("failed", None)
    if "rounds" in before and "rounds" in now:
        none: Round = {}
        pairs = itertools.zip_longest(before["rounds"], now["rounds"], fillvalue=none)
        result["rounds"] = [{**old, **new} for old, new in pairs]
        result["scenarios"] = list(dict.fromkeys([*before["scenarios"], *now["scenarios"]]))
    return result


def storable(value: Any) -> Any:
    """A report as JSON can hold it: figures that are no number (a median of no answers) become null."""
    if isinstance(value, dict):
        return {str(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
