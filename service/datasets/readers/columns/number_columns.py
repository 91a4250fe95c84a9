"""Chooses the number format of each column: one for all rows, or a sentence on why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from service.datasets.formatting import quoted, quoted_list
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.number_format import (
    NUMBER_FORMATS,
    DecimalSign,
    GroupingSign,
    Notation,
    fits_format,
    parse_decorated,
    unit_key,
)
from service.datasets.readers.inferred_facts import Infer

ADVICE = "write them with a point for decimals and nothing else between the digits"
_NumberFormat = tuple[DecimalSign, GroupingSign]
"""Decimal sign, and thousands separator."""
_SIGNS: dict[str, str] = {".": "point", ",": "comma"}


def choose_notations(summaries: Sequence[ColumnSummary], delimiter: str, infer: Infer) -> None:
    """Sets `notation` or `unreadable_problem` of the columns with numbers as people write them.

    `delimiter`: between the cells of the file; beside a semicolon, a comma is more likely the decimal sign.
    """
    possible = {summary.name: _possible(summary) for summary in summaries if summary.may_be_decorated}
    decimal = _of_others(summaries, possible)
    for summary in summaries:
        if summary.name in possible:
            _decide(summary, possible[summary.name], decimal, delimiter, infer)
        elif decimal == "," and summary.numeric and summary.decimal_points == summary.thousands_like > 0:
            sample = next(name for name in summary.distinct if "." in name)
            summary.notation = Notation(",", ".")
            _tell(summary, sample, "other columns write decimals with a comma", infer)


def _possible(summary: ColumnSummary) -> list[_NumberFormat]:
    """The formats in which all cells of a column can be read, the plainest first."""
    found: list[_NumberFormat] = []
    for decimal, grouping in NUMBER_FORMATS:
        if summary.format_counts[decimal, grouping] < summary.decorated or any(decimal == other for other, _ in found):
            continue
        if decimal == "," and summary.decimal_points > (summary.thousands_like if grouping == "." else 0):
            continue
        found.append((decimal, grouping))
    return found


def _matters(summary: ColumnSummary, possible: Sequence[_NumberFormat]) -> bool:
    """Whether the possible formats give different numbers: `1,234` is two numbers, `1 234` is one."""
    return len(possible) > 1 and len({grouping for _, grouping in possible}) > 1


def _of_others(summaries: Sequence[ColumnSummary], possible: dict[str, list[_NumberFormat]]) -> DecimalSign | None:
    """The decimal sign of the columns with only one possible format; None if there are none, or if they differ."""
    signs: set[DecimalSign] = {
        "." for s in summaries if s.name not in possible and s.numeric and s.decimal_points > s.thousands_like
    }
    for summary in summaries:
        found = possible.get(summary.name, [])
        if len(found) == 1 and (found[0][0] == "," or found[0][1] == "," or summary.decimal_points):
            signs.add(found[0][0])
    return signs.pop() if len(signs) == 1 else None


def _decide(
    summary: ColumnSummary,
    possible: Sequence[_NumberFormat],
    of_others: DecimalSign | None,
    delimiter: str,
    infer: Infer,
) -> None:
    samples = list(summary.samples)
    units = {unit_key(unit): unit for unit in summary.units if unit}
    if summary.enclosed == summary.non_missing:
        why = "each is in parentheses, as marks are; with a minus sign they are read as numbers"
        infer(f"numbers of {quoted(summary.name)}", f"none, {quoted(samples[0])} is a word", why)
        return
    if len(units) > 1:
        summary.unreadable_problem = (
            f"its numbers have different units, {quoted_list(sorted(units.values())[:3])}; convert them to one"
        )
        return
    unit = next(iter(units.values()), "")
    if unit in ("%", "‰") and (summary.units[""] or summary.numbers):
        summary.unreadable_problem = f"some of its numbers have {unit} and others do not; write all of them alike"
        return
    if not possible:
        first, second = _two_ways(samples)
        summary.unreadable_problem = (
            f"its numbers are written in several ways, such as {quoted(first)} and {quoted(second)}; {ADVICE}"
        )
        return
    decimal, grouping = possible[0]
    why = "all its cells can be read this way"
    if _matters(summary, possible):
        if of_others:
            decimal, why = of_others, f"other columns write decimals with a {_SIGNS[of_others]}"
        elif delimiter == ";":
            decimal, why = ",", "semicolons separate the cells, as is usual with decimal commas"
        elif possible[0][1] == ",":
            decimal, why = ".", f"a comma before three digits usually separates thousands; {ADVICE} to decide otherwise"
        else:
            why = f"a point is usually the decimal sign; {ADVICE} to decide otherwise"
        grouping = dict(possible)[decimal]
    # The remaining columns have minus signs as people write them, which every notation except that of programs accepts.
    if not grouping and not unit and decimal == ".":
        grouping = ","
    summary.notation = Notation(decimal, grouping, unit)
    marks = (grouping or "0", decimal)
    sample = max(samples, key=lambda name: (sum(mark in name for mark in marks), min(len(name), 8)))
    _tell(summary, sample, why, infer)


def _two_ways(samples: Sequence[str]) -> tuple[str, str]:
    """Two numbers that no single format fits."""
    bodies = {name: found.body for name in samples if (found := parse_decorated(name)) is not None}
    first = min(bodies, key=lambda name: sum(fits_format(bodies[name], *way) for way in NUMBER_FORMATS))
    fitting = [way for way in NUMBER_FORMATS if fits_format(bodies[first], *way)]
    second = next((n for n, body in bodies.items() if not any(fits_format(body, *way) for way in fitting)), first)
    return first, second


def _tell(summary: ColumnSummary, sample: str, why: str, infer: Infer) -> None:
    value = summary.notation.parse(sample)
    unit = f" {summary.notation.unit}" if summary.notation.unit else ""
    infer(f"numbers of {quoted(summary.name)}", f"{quoted(sample)} is {value:.12g}{unit}", why)
