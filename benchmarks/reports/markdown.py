"""Markdown: cells, tables, and the generated part of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"


def number(value: float | None, digits: int = 2) -> str:
    """A figure as a cell; a dash for None and NaN."""
    if value is None or value != value:
        return "–"
    return f"{value:,.{digits}f}".replace(",", " ")


def percent(value: float | None) -> str:
    """A share as a cell in whole per cent; a dash for None."""
    return "–" if value is None else f"{100 * value:.0f} %"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty without rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *lines]) if lines else ""


def replace_generated(page: str, text: str) -> str:
    """The page with `text` between its markers. Raises ValueError if they are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
