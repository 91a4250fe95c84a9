"""Analyses the beginning of a CSV: lines above the header, the delimiter, a title, an index without a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

DELIMITERS = ",;\t|"
LOOKED_AT = 20
"""Lines that are examined to find the delimiter."""
_SEP = re.compile(r'"?sep=([^\w"\r\n])"?[,;\t|]*', re.IGNORECASE)


def preamble(lines: list[str], form: str) -> tuple[int, str]:
    """The number of lines above the header, and the delimiter.

    Lines above the header are Excel's `sep=;`, empty lines, and comments: lines that begin with `#` and have another number of
    cells than the following ones.
    """
    above, declared = 0, ""
    while above < len(lines) and not lines[above].strip():
        above += 1
    if above < len(lines) and (sep := _SEP.fullmatch(lines[above].strip("\r\n \ufeff"))):
        declared = sep[1]
        above += 1
    start = above
    while above < len(lines) and (lines[above].lstrip().startswith("#") or not lines[above].strip()):
        above += 1
    body = [line for line in lines[above:] if line.strip()]
    if above > start:
        last = lines[above - 1]
        delimiter = declared or _delimiter(body[:LOOKED_AT] or [last], form)
        if not body or (delimiter in last and last.count(delimiter) == body[0].count(delimiter)):
            above -= 1  # the header itself begins with "#"
        return above, delimiter
    return above, declared or _delimiter(body[:LOOKED_AT], form)


def _delimiter(lines: list[str], form: str) -> str:
    """The delimiter that the header and the lines below have equally often; if several do, the most frequent one."""
    if not lines:
        return ","
    header = _outside(lines[0])
    if form == ".tsv" and "\t" in header:
        return "\t"
    possible = [sign for sign in DELIMITERS if sign in header]
    if not possible:
        return "\t" if form == ".tsv" else ","

    def alike(sign: str) -> int:
        return sum(_outside(line).count(sign) == header.count(sign) for line in lines[1:])

    most = max(alike(sign) for sign in possible)
    agreed = [sign for sign in possible if most and alike(sign) == most] or possible
    return max(agreed, key=header.count)


def has_spaced_quotes(lines: list[str], delimiter: str) -> bool:
    """Whether a space stands between each delimiter and a quotation mark, as in `"a", "b"`."""
    return any(f'{delimiter} "' in line for line in lines) and not any(f'{delimiter}"' in line for line in lines)


def _has_digit(cell: str) -> bool:
    return any(map(str.isdigit, cell))


def _outside(line: str) -> str:
    """The text outside of quotation marks."""
    return "".join(line.split('"')[::2])


def has_unnamed_index(rows: list[list[str]], count: int, delimiter: str, lines: Iterator[str]) -> bool:
    """Whether each row begins with a name of its own that the header has no column for, as R writes them.

    An unquoted comma in a text also makes rows too long; so after commas the names must be consecutive numbers, or be quoted.
    """
    if not rows or any(len(cells) != count for cells in rows) or not any(cells[-1].strip() for cells in rows):
        return False
    names = {cells[0].strip() for cells in rows}
    if len(names) < len(rows) or "" in names:
        return False
    first = rows[0][0].strip()
    if delimiter != "," or (
        first.isdecimal()
        and len(first) < 20
        and [cells[0].strip() for cells in rows] == [str(int(first) + i) for i in range(len(rows))]
    ):
        return True
    return all(line.startswith('"') for line in islice(lines, 1, len(rows) + 1) if line.strip())


def is_title(given: list[str], rows: list[list[str]], lines: Iterator[str]) -> bool:
    """Whether only one cell of the first line has a text, and the lines below are a table with a header of its own."""
    if not given or not given[0] or any(given[1:]):
        return False
    if len(given) > 1:
        full = [cells for cells in rows if len(cells) == len(given) and all(cell.strip() for cell in cells)]
        words = len(full) > 1 and not any(_has_digit(cell) for cell in full[0])
        return words and (len(given) > 2 or any(_has_digit(cell) for cells in full[1:] for cell in cells))
    below = [_outside(line) for line in islice(lines, 1, LOOKED_AT) if line.strip()]
    signs = ",;\t" if " " in given[0] else ","
    return len(below) > 2 and any(below[0].count(s) and len({line.count(s) for line in below}) == 1 for s in signs)
