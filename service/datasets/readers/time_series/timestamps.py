"""Parses points in time as people write them. A cell may fit several formats (`parse_time`); a column is read in one of them.

Values are seconds since 1970 for dates; numbers may count anything. A date without a zone counts as UTC: only differences matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

from service.datasets.formatting import quoted
from service.datasets.readers.columns.cells import to_number
from service.datasets.readers.tables.table import Cell

DATE = "date"
DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "day/month/year", "month/day/year", "year/month/day"
LOCAL = "local time"
"""A date with a zone, as the local clock showed it."""
DIGITS = "date of digits alone"
MONTHS = "month and year"
CLOCK = "time of day"
NUMBER = "number"

MAX_TIME_CHARACTERS = 128
"""Maximum length of a cell that may be a point in time; a longer cell is prose."""
MIN_MATCHING_SHARE = 0.95
"""Share of a column's cells that a format must fit."""
_DAY, _HOUR = 86_400, 3_600
_EPOCH = date(1970, 1, 1).toordinal()
_YEARS = (1600, 2400)
"""Numbers of eight digits are dates only within these years."""
_PIVOT = 69
"""Two-digit years below this are in the 21st century, as in POSIX."""
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH_OF = {
    **{name: i for i, name in enumerate(_NAMES, 1)},
    **{name: i for i, name in enumerate(_FULL, 1)},
    "sept": 9,
}
_FLAGS = re.ASCII | re.IGNORECASE
_YEAR = r"(\d{4}|'?\d{2})"
_NAME = r"([a-z]{3,9})\.?"
_NTH = r"(\d{1,2})(?:st|nd|rd|th)?"
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)(?:[a-z]{0,6}day)?\.?,?\s+", _FLAGS)
_CTIME = re.compile(r"([a-z]{3}\s+\d{1,2})\s+(\d{1,2}:\d{2}:\d{2})\s+(\d{4})", _FLAGS)
_TIME = r"(\d{1,2})(?::(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?(?:\s*([ap])\.?\s?m\.?)?"
_WHEN = re.compile(
    rf"(?P<date>.+?)(?:(?:T|,?\s+(?:at\s+)?|:(?=\d\d:\d\d)){_TIME}(?:\s*Uhr)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{{2}}(?::?\d{{2}})?)?)",
    _FLAGS,
)
_ONLY_TIME = re.compile(rf"(?:(\d+)\s+days?,?\s+)?{_TIME}", _FLAGS)
_RANGE = re.compile(r"(.*\d.*?)\s+[-–—]\s+\S*\d.*", re.ASCII)
"""A range of times; its first time counts."""
_ISO = re.compile(r"(\d{4})[-/. ]\s?(\d{1,2})[-/. ]\s?(\d{1,2})\.?", re.ASCII)
_TRIPLE = re.compile(r"(\d{1,2})(?:([-/])(\d{1,2})\2|\.\s?(\d{1,2})\.\s?)(\d{4}|\d{2})\.?", re.ASCII)
_QUARTERS = (re.compile(r"(\d{4})[\s/-]*Q([1-4])", _FLAGS), re.compile(rf"Q([1-4])[\s/-]*{_YEAR}", _FLAGS))
_WEEKS = (
    re.compile(r"(\d{4})[\s/-]*(?:W|KW\s?|CW\s?)(\d{1,2})(?:-?([1-7]))?", _FLAGS),
    re.compile(r"(?:W|KW\s?|CW\s?)(\d{1,2})[\s/-]+(\d{4})", _FLAGS),
)
_YEAR_MONTHS = (re.compile(r"(\d{4})(?:[-/]|-?M)(\d{1,2})", _FLAGS), re.compile(r"(\d{1,2})[-/](\d{4})", re.ASCII))
_DOTTED_MONTHS = (re.compile(r"(\d{4})\.(\d{2})", re.ASCII), re.compile(r"(\d{2})\.(\d{4})", re.ASCII))
_NAMED = (
    (re.compile(rf"{_NTH}[\s.,/-]*{_NAME}[\s.,/-]*{_YEAR}", _FLAGS), (3, 2, 1)),
    (re.compile(rf"{_NAME}[\s.,-]*{_NTH}[\s,.-]+{_YEAR}", _FLAGS), (3, 1, 2)),
    (re.compile(rf"(\d{{4}})[\s,./-]*{_NAME}[\s,./-]*{_NTH}", _FLAGS), (1, 2, 3)),
    (re.compile(rf"{_NAME}[\s,./'-]*{_YEAR}", _FLAGS), (2, 1, 0)),
    (re.compile(rf"(\d{{4}})[\s,./-]*{_NAME}", _FLAGS), (1, 2, 0)),
)


def parse_time(cell: Cell) -> dict[str, float]:
    """All possible values of a cell by format; empty for a cell that is no time."""
    value = to_number(cell)
    if value is not None:
        return _of_number(value, cell)
    if not isinstance(cell, str) or len(cell) > MAX_TIME_CHARACTERS:
        return {}
    text = cell.strip()
    if text[4:5] == "-" or text[8:9] == "T":  # the common format
        try:
            return _of_datetime(datetime.fromisoformat(text))
        except (ValueError, OverflowError):
            pass
    return _of_text(text)


def matching_formats(cells: Iterable[Cell]) -> tuple[str, ...]:
    """The formats that fit nearly all cells and as well as any other does; none if the cells are no times."""
    counts: dict[str, int] = {}
    filled = 0
    for cell in cells:
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            continue
        filled += 1
        for time_format in parse_time(cell):
            counts[time_format] = counts.get(time_format, 0) + 1
    if not filled or max(counts.values(), default=0) < MIN_MATCHING_SHARE * filled:
        return ()
    return tuple(
        time_format for time_format, count in counts.items() if count >= MIN_MATCHING_SHARE * max(counts.values())
    )


def unreadable_time(cell: Cell) -> str:
    """The message about a cell that cannot be read."""
    if isinstance(cell, str) and re.search(r"\d\W*[^\W\d_]{3,}|[^\W\d_]{3,}\W*\d", cell):
        return f"{quoted(cell)} cannot be read as a time; names of months are read in English only, and 2024-01-31 is always read"
    return f"{quoted(cell)} is no time; write it as 2024-01-31, 2024-01-31 12:00 or a number"


def format_time(seconds: float) -> str:
    """A readable time."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.15g}"
    return f"{at:%Y-%m-%d}" if seconds % _DAY == 0 else f"{at:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _of_number(value: float, cell: Cell) -> dict[str, float]:
    if not abs(value) < 1e20:
        return {}
    found = {NUMBER: value}
    if isinstance(cell, str):
        text = cell.strip()
        for at, pattern in enumerate(_DOTTED_MONTHS):
            if match := pattern.fullmatch(text):
                _add(found, MONTHS, match[1 + at], match[2 - at], "1")
    if value.is_integer() and 1e5 <= value < 1e14:
        digits = str(int(value))
        if len(digits) in (6, 8, 10, 12, 14) and _YEARS[0] <= int(digits[:4]) <= _YEARS[1]:
            clock = digits[8:].ljust(6, "0")
            hour, minute, second = int(clock[:2]), int(clock[2:4]), int(clock[4:])
            if hour < 24 and minute < 60 and second < 60:
                after = hour * _HOUR + minute * 60 + second
                _add(found, DIGITS, digits[:4], digits[4:6], digits[6:8] or "1", after)
    return found


def _of_datetime(at: datetime) -> dict[str, float]:
    if at.tzinfo is None:
        return {DATE: at.replace(tzinfo=UTC).timestamp()}
    return {DATE: at.timestamp(), LOCAL: at.replace(tzinfo=UTC).timestamp()}


def _of_text(text: str) -> dict[str, float]:
    text = text.translate(_CHARACTERS)
    if ranged := _RANGE.fullmatch(text):
        text = ranged[1]
    if weekday := _WEEKDAY.match(text):
        text = text[weekday.end() :]
    text = _CTIME.sub(r"\1 \3 \2", text)
    if only := _ONLY_TIME.fullmatch(text):
        clock = _clock(*only.groups()[1:6])
        return {} if clock is None else {CLOCK: clock + int(only[1] or 0) * _DAY}
    found = _dates(text, 0.0)
    if found or not (when := _WHEN.fullmatch(text)):
        return found
    clock = _clock(*when.groups()[1:6])
    if clock is None:
        return {}
    found = _dates(when["date"], clock)
    if when["zone"] and DATE in found:
        found[LOCAL] = found[DATE]
        found[DATE] -= _offset(when["zone"])
    return found


_CHARACTERS = {
    ord("年"): "-",
    ord("月"): "-",
    ord("日"): " ",
    0xA0: " ",
    0x202F: " ",
    0x2009: " ",
    0x2212: "-",
    0x2010: "-",
    0x2011: "-",
}


def _clock(hour: str, minute: str | None, second: str | None, part: str | None, half: str | None) -> float | None:
    """Seconds of a day. `24:00` is the end of the day; an hour without minutes needs am or pm."""
    h, m, s = int(hour), int(minute or 0), int(second or 0)
    if m > 59 or s > 60 or (minute is None and half is None):
        return None
    if half is not None:
        if not 1 <= h <= 12:
            return None
        h = h % 12 + (12 if half.lower() == "p" else 0)
    if h > 24 or (h == 24 and (m or s)):
        return None
    return h * _HOUR + m * 60 + s + float(f"0.{part or 0}")


def _offset(zone: str) -> float:
    if zone[0] not in "+-":
        return 0.0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * _HOUR + int(digits[2:]) * 60
    return float(-seconds if zone[0] == "-" else seconds)


def _dates(text: str, clock: float) -> dict[str, float]:
    text = text.strip()
    found: dict[str, float] = {}
    if match := _ISO.fullmatch(text):
        _add(found, DATE, match[1], match[2], match[3], clock)
    elif match := _TRIPLE.fullmatch(text):
        a, b, c = match[1], match[3] or match[4], match[5]
        _add(found, DAY_FIRST, c, b, a, clock)
        if match[2]:  # dates with points never begin with the month
            _add(found, MONTH_FIRST, c, a, b, clock)
        if len(c) == 2:
            _add(found, YEAR_FIRST, a, b, c, clock)
    elif match := _QUARTERS[0].fullmatch(text):
        _add(found, DATE, match[1], str(3 * int(match[2]) - 2), "1", clock)
    elif match := _QUARTERS[1].fullmatch(text):
        _add(found, DATE, match[2], str(3 * int(match[1]) - 2), "1", clock)
    elif match := _WEEKS[0].fullmatch(text):
        _add_week(found, match[1], match[2], match[3] or "1", clock)
    elif match := _WEEKS[1].fullmatch(text):
        _add_week(found, match[2], match[1], "1", clock)
    elif match := _YEAR_MONTHS[0].fullmatch(text):
        _add(found, DATE, match[1], match[2], "1", clock)
    elif match := _YEAR_MONTHS[1].fullmatch(text):
        _add(found, DATE, match[2], match[1], "1", clock)
    else:
        for pattern, (year, month, day) in _NAMED:
            if (match := pattern.fullmatch(text)) and (of := _MONTH_OF.get(match[month].lower())):
                _add(found, DATE, match[year], str(of), match[day] if day else "1", clock)
                break
    return found


def _add(found: dict[str, float], time_format: str, year: str, month: str, day: str, clock: float = 0.0) -> None:
    """Adds the day if it exists."""
    digits = year.removeprefix("'")
    y = int(digits)
    if len(digits) == 2:
        y += 2000 if y < _PIVOT else 1900
    try:
        found[time_format] = (date(y, int(month), int(day)).toordinal() - _EPOCH) * _DAY + clock
    except ValueError:
        return


def _add_week(found: dict[str, float], year: str, week: str, day: str, clock: float) -> None:
    try:
        found[DATE] = (date.fromisocalendar(int(year), int(week), int(day)).toordinal() - _EPOCH) * _DAY + clock
    except ValueError:
        return
