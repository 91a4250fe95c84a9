"""Points in time as people write them, and whether they follow each other in equal steps."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from service.datasets.inspection import number
from service.datasets.tables import Cell

UNEVEN = 0.15
"""How far a step may differ from the usual one: months have 28 to 31 days."""
_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})", re.ASCII)


def moment(cell: Cell) -> float | None:
    """Seconds for a date or time, the number itself for a number (a year, a count of steps); None for anything else."""
    value = number(cell)
    if value is not None:
        return value if np.isfinite(value) else None
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if month := _MONTH.fullmatch(text):
        text = f"{month[1]}-{int(month[2]):02}-01"
    elif re.fullmatch(r"\d{4}/\d{1,2}/\d{1,2}.*", text, re.ASCII):
        text = text.replace("/", "-")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None


def gaps(times: NDArray[np.float64]) -> int:
    """How many steps of rising times are not of the usual length, which is their median."""
    if len(times) < 3:
        return 0
    steps = np.diff(times)
    return int((np.abs(steps - np.median(steps)) > UNEVEN * np.median(steps)).sum())
