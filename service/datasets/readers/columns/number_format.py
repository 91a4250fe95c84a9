"""The format of the numbers in a column: decimal sign, thousands separator, unit. One format applies to the whole column.

`1,234.50`, `1.234,50`, `1 234,50` and `1'234.50` are one number each. `1,234` alone may be two; for a column with nothing else,
the columns beside it decide (`number_columns.py`). A currency, `%` or a unit is accepted if all cells of the column have the
same one. Upload, training and prediction read cells by the same notation, which is stored with the column in a dataset and on a
model's card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Literal

from service.datasets.readers.columns.units import UNITS, is_currency

DecimalSign = Literal[".", ","]
GroupingSign = Literal["", ",", ".", " ", "'"]
DECIMALS: tuple[DecimalSign, ...] = (".", ",")
GROUPINGS: tuple[GroupingSign, ...] = ("", ",", ".", " ", "'")
NUMBER_FORMATS = tuple((decimal, grouping) for decimal in DECIMALS for grouping in GROUPINGS if decimal != grouping)
"""All possible formats of a column: (decimal sign, thousands separator)."""
_SPACES = {ord(c): " " for c in "\u00a0\u202f\u2009\u2007\u2002\u2003\u2008\u200a\u205f\u3000"}
_SAME = {**_SPACES, ord("’"): "'", ord("\u02bc"): "'", ord("−"): "-", ord("\u2013"): "-", ord("\ufe63"): "-"}
_WRITTEN = re.compile(
    r"(?P<open>\()?(?P<sign>[+-])?\s*(?P<before>[^\d\s.,'()+-]{1,6}\.?)?\s*(?P<inner>[+-])?"
    r"(?P<body>\d[\d.,' ]*|[.,]\d+)"
    r"(?P<after>[^\d\s.,'()+-][^\s()]{0,11})?\s*(?P<behind>-)?(?P<close>\))?",
    re.ASCII,
)
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notation:
    """The format of the numbers in a column. The default is that of programs: `-1234.5`, `1.5e3`."""

    decimal: DecimalSign = "."
    grouping: GroupingSign = ""
    """Between thousands; empty for none. A space stands for every kind of space."""
    unit: str = ""
    """Before or after each number: a currency, `%`, `kg`; the numbers are in this unit. Empty for none."""

    @property
    def is_plain(self) -> bool:
        """Whether it is the format in which programs write numbers."""
        return self == PLAIN

    def parse(self, text: str) -> float | None:
        """The number in a text, possibly infinite; None for any other text."""
        return _number(text, self)

    def parse_exact(self, text: str) -> Decimal | float | None:
        """The number with all of its digits, so that whole numbers of any length stay different. For the few that are
        compared."""
        digits = (None if self.is_plain else _digits(text, self)) or text.strip()
        value = parse_plain(digits)
        try:
            return None if value is None else Decimal(digits)
        except InvalidOperation:  # its exponent is out of range
            return value


PLAIN = Notation()


@dataclass(frozen=True, slots=True)
class DecoratedNumber:
    """The parts of one number as people write it."""

    body: str
    """Digits and separators; spaces and apostrophes of one kind each."""
    negative: bool
    unit: str
    enclosed: bool
    """In parentheses, as accountants write a negative number."""


def parse_plain(text: str) -> float | None:
    """The number in a text as programs write it, possibly infinite; None for any other text."""
    text = text.strip()
    return float(text) if _PLAIN.fullmatch(text) else None


@lru_cache(maxsize=4096)
def parse_decorated(text: str) -> DecoratedNumber | None:
    """A number with decorations, or None for a text in which nobody would read one."""
    found = _WRITTEN.fullmatch(text.translate(_SAME).strip())
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    behind = found["behind"] if found["body"].rstrip()[-1] not in ".," else ""  # "1'000.-" has no cents
    signs = [sign for sign in (found["open"], found["sign"], found["inner"], behind) if sign]
    if len(signs) > 1:
        return None
    before, after = found["before"] or "", found["after"] or ""
    if before and (after or not is_currency(before)):
        return None
    if after and not (is_currency(after) or after.casefold() in UNITS):
        return None
    body = found["body"].strip(" ")
    if not body or not any(fits_format(body, *way) for way in NUMBER_FORMATS):
        return None  # a date, a version, a telephone number
    return DecoratedNumber(body, bool(signs) and signs[0] != "+", before or after, bool(found["open"]))


@lru_cache(maxsize=256)
def _shape(decimal: str, grouping: str) -> re.Pattern[str]:
    d, g = re.escape(decimal), re.escape(grouping)
    if not grouping:
        return re.compile(rf"\d+(?:{d}\d*)?|{d}\d+", re.ASCII)
    grouped = rf"[1-9]\d{{0,2}}(?:{g}\d{{3}})+|[1-9]\d?(?:{g}\d{{2}})+{g}\d{{3}}"  # the second form is that of India
    return re.compile(rf"(?:{grouped}|\d+)(?:{d}\d*)?|{d}\d+", re.ASCII)


def fits_format(body: str, decimal: str, grouping: str) -> bool:
    """Whether digits and separators fit a format."""
    return _shape(decimal, grouping).fullmatch(body) is not None


def unit_key(unit: str) -> str:
    """A unit in the form in which units are compared: `EUR` and `eur` are the same."""
    return unit.casefold()


def _number(text: str, notation: Notation) -> float | None:
    digits = _digits(text, notation)
    return parse_plain(text) if digits is None else float(digits)


def _digits(text: str, notation: Notation) -> str | None:
    """The digits of a number as programs write it; None for a text that does not fit the notation."""
    found = parse_decorated(text) if len(text) <= 64 else None
    if (
        found is not None
        and fits_format(found.body, notation.decimal, notation.grouping)
        and (not found.unit or unit_key(found.unit) == unit_key(notation.unit))
    ):
        digits = found.body.replace(notation.grouping, "") if notation.grouping else found.body
        digits = digits.replace(notation.decimal, ".")
        return f"-{digits}" if found.negative else digits
    return None
