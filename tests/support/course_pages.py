"""Pages of documentation with commands and what they print, in blocks of ```console.

    $ zoo predict MODEL INPUT        a command
    input   answer                   what it prints on stdout; nothing is compared where nothing is shown
    ...                              any number of lines; within a line, any text

Words are compared as they are, numbers with a tolerance.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
_PARTS = re.compile(rf"\.\.\.|\s+|{_NUMBER}|[^\s.\d+-]+|.")
ANYTHING = "..."
RELATIVE = 0.01
"""Of a number: other processors add in another order, and decoders of JPEG differ by a grey level."""


@dataclass(frozen=True)
class PageCommand:
    """A command of a page, and the lines that it prints there."""

    arguments: tuple[str, ...]
    shown: tuple[str, ...]


def commands_of(page: Path) -> list[PageCommand]:
    """The commands of a page in its order."""
    found = []
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *shown = command.rstrip().replace("\\\n", " ").splitlines()
            found.append(PageCommand(tuple(shlex.split(first)), tuple(line.rstrip() for line in shown)))
    return found


def pictures_of(page: Path) -> list[str]:
    """The pictures of a page, within its folder `images`."""
    return re.findall(r"!\[[^\]]*\]\(images/([^)]+)\)", page.read_text(encoding="utf-8"))


def matches(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether a command prints what a page shows."""
    if not shown:
        return not printed
    if shown[0].strip() == ANYTHING:
        return any(matches(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and line_matches(shown[0], printed[0]) and matches(shown[1:], printed[1:])


def line_matches(shown: str, printed: str) -> bool:
    """Whether a line is the one that is shown, but for blanks, for `...`, and for small differences of numbers."""
    pattern, numbers = "", []
    for part in _PARTS.findall(shown.strip()):
        if part == ANYTHING:
            pattern += ".*?"
        elif part.isspace():
            pattern += r"\s+"
        elif re.fullmatch(_NUMBER, part):
            pattern += f"({_NUMBER})"
            numbers.append(part)
        else:
            pattern += re.escape(part)
    found = re.fullmatch(pattern, printed.strip())
    return found is not None and all(map(_close, numbers, found.groups()))


def _close(shown: str, printed: str) -> bool:
    """Within a share of the number, and two units of its last decimal."""
    decimals = len(shown.partition(".")[2])
    rounding = 2 * 10.0**-decimals if decimals else 0.0
    expected, found = (float(number.replace(",", "")) for number in (shown, printed))
    return abs(expected - found) <= RELATIVE * abs(expected) + rounding
