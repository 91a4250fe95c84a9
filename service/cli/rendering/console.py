"""What is printed: consoles for people, JSON for programs, and text from elsewhere made harmless."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

LONGEST_SHOWN = 100
"""Characters of a name or a text that a line repeats."""
_SMALL = 100_000
_PIPE_WIDTH = 1000
"""Columns where nobody looks: rows of a pipe are never wrapped or cut."""
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move a cursor, reorder or hide text, or cannot be encoded."""


def escaped(text: object) -> str:
    """`text` with every character that could steer a terminal shown as its escape, `\\x1b` for example."""
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _UNSAFE else character for character in str(text)
    )


def quoted(text: str) -> str:
    """A name or a text in quotation marks, in one line and not too long."""
    text = escaped(text)
    return f"'{text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + '…'}'"


def stdout_console() -> Console:
    """The console on stdout. Markup is off, since names and labels are not ours."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """The console on stderr, for progress and sentences."""
    return _console(stderr=True)


def print_line(text: str, style: str = "") -> None:
    """One line on stdout for people."""
    stdout_console().print(escaped(text), style=style, soft_wrap=True)


def print_error(text: str) -> None:
    """Red sentences on stderr, one a line."""
    for line in text.splitlines():
        stderr_console().print(escaped(line), style="red", soft_wrap=True)


def print_note(text: str) -> None:
    """A sentence on stderr that is no error, out of the way of what is piped."""
    stderr_console().print(escaped(text), style="dim", soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on one line, at once. ASCII only, so it is harmless as it is. A figure that is not finite is null."""
    from model_zoo import strict_json

    print(strict_json.text(strict_json.with_nulls(value)), flush=True)  # noqa: T201


def new_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table with these headings; those in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD if stdout_console().is_terminal else None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def print_table(renderable: RenderableType) -> None:
    """A table on stdout, without the blanks at the ends of lines where a program reads them."""
    console = stdout_console()
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as text:
        console.print(renderable)
    for line in text.get().splitlines():
        print(line.rstrip())  # noqa: T201


def format_size(size: int) -> str:
    """A size for people; of what is small, in kB."""
    return f"{size / 1e6:.1f} MB" if size >= _SMALL or not size else f"{max(size / 1e3, 0.1):.1f} kB"


def format_option(value: object) -> str:
    """A value of an option, as `zoo set` takes it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def format_count(number: int) -> str:
    """A number of parameters for people: 4.7 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
