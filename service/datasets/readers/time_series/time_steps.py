"""Finds the step of a series: equal seconds, months, or the working days or hours of a week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UNEVEN = 0.15
"""Allowed deviation of a step from the usual one, as a fraction."""
_HOUR, _DAY, _WEEK = 3_600.0, 86_400.0, 604_800.0
_LEAST_WEEKS = 2
"""Minimum number of weeks for a weekly pattern."""
_MONTHLY = (27.5 * _DAY, 370 * _DAY)
"""Range of median steps that may be months, quarters or years, in seconds."""
_UNITS = ((_WEEK, "week"), (_DAY, "day"), (_HOUR, "hour"), (60.0, "minute"), (1.0, "second"))
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONDAY = 4 * _DAY
"""1970-01-05, in seconds since 1970."""
_NIGHT = 4 * _HOUR
"""Clocks change before this time of day, in seconds."""
_BETWEEN_CHANGES = 100 * _DAY
_CALENDARS = (
    (1e9, 1e10, 1.0, 0.0, "seconds since 1970"),
    (1e12, 1e13, 1e-3, 0.0, "milliseconds since 1970"),
    (1e15, 1e16, 1e-6, 0.0, "microseconds since 1970"),
    (1e18, 1e19, 1e-9, 0.0, "nanoseconds since 1970"),
    (20_000.0, 80_000.0, _DAY, -25_569 * _DAY, "days since 1900 as in Excel"),
)


@dataclass(frozen=True, slots=True)
class StepPattern:
    """The usual step of ascending times."""

    name: str
    """A readable name: `1 day`, `Monday to Friday`."""
    irregular: NDArray[np.int64]
    """Positions of the times that do not follow the previous one by this step."""


def find_steps(times: Floats, *, dated: bool) -> StepPattern:
    """The step that most of the times keep. `dated`: whether they are seconds since 1970, so that weeks and months apply."""
    if len(times) < 3:
        return StepPattern("", np.zeros(0, np.int64))
    steps = np.diff(times)
    usual = float(np.median(steps))
    best = StepPattern(_name(usual, dated), _positions(np.abs(steps - usual) > UNEVEN * usual))
    if not dated:
        return best
    found = [best]
    if _MONTHLY[0] <= usual <= _MONTHLY[1]:
        found.insert(0, _months(times))  # of two equally good ones the first wins
    if not len(best.irregular):
        return min(found, key=lambda steps: len(steps.irregular))
    if usual <= 3.5 * _DAY and times[-1] - times[0] >= _LEAST_WEEKS * _WEEK:
        found.append(_weekly(times))
        if usual >= 0.9 * _DAY:
            found.append(_weekly(np.round((times - times[0]) / _DAY) * _DAY + np.floor(times[0] / _DAY) * _DAY))
    return min(found, key=lambda steps: len(steps.irregular))


def numbers_as_dates(numbers: Floats) -> list[tuple[str, Floats]]:
    """The dates that numbers may stand for: the name of the unit, and seconds since 1970."""
    least, most = float(numbers.min()), float(numbers.max())
    return [(name, numbers * unit + zero) for low, high, unit, zero, name in _CALENDARS if low <= least and most < high]


def _months(times: Floats) -> StepPattern:
    dates = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    steps = np.diff(dates)
    usual = int(np.median(steps))
    name = {1: "1 month", 3: "1 quarter", 12: "1 year"}.get(usual, f"{usual} months")
    return StepPattern(name, _positions((steps != usual) | (usual < 1)))


def _weekly(times: Floats) -> StepPattern:
    """A weekly pattern: each frequent position within the week must be followed by the next one."""
    slots = np.round((times - _MONDAY) % _WEEK).astype(np.int64) % int(_WEEK)
    kinds, of, counts = np.unique(slots, return_inverse=True, return_counts=True)
    weeks = (times[-1] - times[0]) / _WEEK
    kept = counts >= max(2.0, 0.4 * weeks)
    if not kept.any() or kept.sum() > len(times) / 2:
        return StepPattern("", np.arange(1, len(times)))
    rank = np.cumsum(kept) - 1
    usual = np.where(kept[of], rank[of], -1)
    places = int(kept.sum())
    following = (usual[:-1] + 1) % places == usual[1:]
    ahead = np.diff(kinds[kept], append=kinds[kept][0] + int(_WEEK)).astype(np.float64)
    expected = ahead[np.maximum(usual[:-1], 0)]
    fits = following & (usual[:-1] >= 0) & (np.abs(np.diff(times) - expected) < 1.0)
    return StepPattern(_week_name(kinds[kept]), _positions(~fits))


def _week_name(slots: NDArray[np.int64]) -> str:
    days = sorted({int(slot // _DAY) for slot in slots})
    run = days == list(range(days[0], days[-1] + 1))
    named = f"{_DAYS[days[0]]} to {_DAYS[days[-1]]}" if run and len(days) > 2 else ", ".join(_DAYS[day] for day in days)
    return named if len(slots) == len(days) else f"{named}, certain hours"


def _positions(wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.flatnonzero(wrong) + 1


def _name(step: float, dated: bool) -> str:
    if not dated:
        return f"{step:.12g}"
    for size, unit in _UNITS:
        if step >= size and abs(step / size - round(step / size)) < 1e-6:
            count = round(step / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{step:.6g} seconds"


def without_clock_changes(times: Floats) -> tuple[Floats, NDArray[np.int64], int]:
    """Ascending local times with repeated hours separated: the new times, the order of the given times in them, and the number of
    repeated hours.

    Clocks skip an hour in spring and repeat one in autumn, at night, once a year each. The new times differ from UTC by whole
    hours; their differences are right.

    Args:
        times: ascending; of two equal ones the earlier row is first.
    """
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    if not 0 < usual <= _HOUR:
        return times, np.arange(len(times)), 0
    hours = np.floor(times / _HOUR)
    twice = np.unique(hours[1:][steps == 0])
    if not len(twice) or (np.diff(twice) * _HOUR < _BETWEEN_CHANGES).any():
        return times, np.arange(len(times)), 0
    made = times.copy()
    order = np.arange(len(times))
    for hour in twice:
        inside = np.flatnonzero(hours == hour)
        first, second = inside[::2], inside[1::2]
        if hour * _HOUR % _DAY >= _NIGHT or len(inside) % 2 or (times[first] != times[second]).any():
            return times, np.arange(len(times)), 0
        order[inside] = np.concatenate([first, second])
        made[second] += _HOUR
        made[inside[-1] + 1 :] += _HOUR
    return made[order], order, len(twice)


def spring_forward(times: Floats, positions: NDArray[np.int64], usual: float) -> NDArray[np.bool_]:
    """Which of the irregular steps are an hour that the clocks skipped: one hour too long, at night, and rare."""
    steps = times[positions] - times[positions - 1]
    night = (times[positions] % _DAY > 0) & (times[positions] % _DAY < _NIGHT + _HOUR)
    apart = np.diff(times[positions], prepend=-np.inf) > _BETWEEN_CHANGES
    return (np.abs(steps - usual - _HOUR) < 1.0) & night & apart
