"""Decides how the numbers of each column are written: one reading for all rows, or a sentence that says why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.datasets.formatting import listed, shown
from service.datasets.readers.columns.number_format import (
    WAYS,
    Decimal,
    Grouping,
    Notation,
    fits,
    has_sign,
    written,
)
from service.datasets.readers.inferred import Infer

if TYPE_CHECKING:
    from service.datasets.readers.columns.schema import Summary

CURE = "write them with a point for decimals and nothing else between the digits"
_Way = tuple[Decimal, Grouping]
"""Decimal sign, and sign between thousands."""
_SIGNS: dict[str, str] = {".": "point", ",": "comma"}


def decide(summaries: Sequence[Summary], delimiter: str, infer: Infer) -> None:
    """Sets `notation` or `unread` of the columns that hold numbers as people write them.

    `delimiter`: between the cells of the file; where it is a semicolon, a comma is rather the decimal sign.
    """
    possible = {summary.name: _possible(summary) for summary in summaries if summary.may_be_decorated}
    decimal = _of_others(summaries, possible)
    for summary in summaries:
        if summary.name in possible:
            _decide(summary, possible[summary.name], decimal, delimiter, infer)
        elif decimal == "," and summary.numeric and summary.points == summary.groups > 0:
            sample = next(name for name in summary.distinct if "." in name)
            summary.notation = Notation(",", ".")
            _tell(summary, sample, "other columns write decimals with a comma", infer)


def _possible(summary: Summary) -> list[_Way]:
    """Decimal sign and sign between thousands by which all cells of a column can be read; the plainest first."""
    found: list[_Way] = []
    for decimal, grouping in WAYS:
        if summary.bodies[decimal, grouping] < summary.decorated or any(decimal == other for other, _ in found):
            continue
        if decimal == "," and summary.points > (summary.groups if grouping == "." else 0):
            continue
        found.append((decimal, grouping))
    return found


def _matters(summary: Summary, possible: Sequence[_Way]) -> bool:
    """Whether the readings of a column differ: `1,234` is two numbers, `1 234` is one."""
    return len(possible) > 1 and len({grouping for _, grouping in possible}) > 1


def _of_others(summaries: Sequence[Summary], possible: dict[str, list[_Way]]) -> Decimal | None:
    """The decimal sign of the columns that leave no doubt; None where there are none, or they differ."""
    signs: set[Decimal] = {"." for s in summaries if s.name not in possible and s.numeric and s.points > s.groups}
    for summary in summaries:
        found = possible.get(summary.name, [])
        if len(found) == 1 and (found[0][0] == "," or found[0][1] == "," or summary.points):
            signs.add(found[0][0])
    return signs.pop() if len(signs) == 1 else None


def _decide(
    summary: Summary, possible: Sequence[_Way], of_others: Decimal | None, delimiter: str, infer: Infer
) -> None:
    samples = list(summary.samples)
    units = {has_sign(unit): unit for unit in summary.units if unit}
    if summary.enclosed == summary.filled:
        why = "each is in parentheses, as marks are; with a minus sign they are read as numbers"
        infer(f"numbers of {shown(summary.name)}", f"none, {shown(samples[0])} is a word", why)
        return
    if len(units) > 1:
        summary.unread = f"its numbers have different units, {listed(sorted(units.values())[:3])}; convert them to one"
        return
    unit = next(iter(units.values()), "")
    if unit in ("%", "‰") and (summary.units[""] or summary.numbers):
        summary.unread = f"some of its numbers have {unit} and others do not; write all of them alike"
        return
    if not possible:
        first, second = _two_ways(samples)
        summary.unread = f"its numbers are written in several ways, such as {shown(first)} and {shown(second)}; {CURE}"
        return
    decimal, grouping = possible[0]
    why = "all its cells can be read so"
    if _matters(summary, possible):
        if of_others:
            decimal, why = of_others, f"other columns write decimals with a {_SIGNS[of_others]}"
        elif delimiter == ";":
            decimal, why = ",", "semicolons separate the cells, as where the comma is the decimal sign"
        elif possible[0][1] == ",":
            decimal, why = ".", f"a comma before three digits is rather between thousands; {CURE} to decide otherwise"
        else:
            why = f"a point is rather the decimal sign; {CURE} to decide otherwise"
        grouping = dict(possible)[decimal]
    # What is left are minus signs as people write them, which are read in every notation but that of programs.
    if not grouping and not unit and decimal == ".":
        grouping = ","
    summary.notation = Notation(decimal, grouping, unit)
    marks = (grouping or "0", decimal)
    sample = max(samples, key=lambda name: (sum(mark in name for mark in marks), min(len(name), 8)))
    _tell(summary, sample, why, infer)


def _two_ways(samples: Sequence[str]) -> tuple[str, str]:
    """Two numbers that no reading fits both of."""
    bodies = {name: found.body for name in samples if (found := written(name)) is not None}
    first = min(bodies, key=lambda name: sum(fits(bodies[name], *way) for way in WAYS))
    fitting = [way for way in WAYS if fits(bodies[first], *way)]
    second = next((n for n, body in bodies.items() if not any(fits(body, *way) for way in fitting)), first)
    return first, second


def _tell(summary: Summary, sample: str, why: str, infer: Infer) -> None:
    value = summary.notation.number(sample)
    unit = f" {summary.notation.unit}" if summary.notation.unit else ""
    infer(f"numbers of {shown(summary.name)}", f"{shown(sample)} is {value:.12g}{unit}", why)
