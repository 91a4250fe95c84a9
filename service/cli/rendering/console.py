"""Output of the commands: consoles for people, JSON for programs. Text from elsewhere cannot steer the terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

LONGEST_QUOTED = 100
"""Characters of a name or text that a line repeats."""
_PIPE_WIDTH = 1000
"""Columns of an output that is not a terminal, so that no row is wrapped or cut there."""
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move the cursor, reorder or hide text, or cannot be encoded."""


def escaped(text: object) -> str:
    """`text` with each character that could steer a terminal replaced by its escape, for example `\\x1b`."""
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _UNSAFE else character for character in str(text)
    )


def quoted(text: str) -> str:
    """A name or text in quotation marks, on one line and shortened if it is long."""
    text = escaped(text)
    return f"'{text if len(text) <= LONGEST_QUOTED else text[: LONGEST_QUOTED - 1] + '…'}'"


def stdout_console() -> Console:
    """The console on stdout. Markup is off, since names and labels come from elsewhere."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """The console on stderr, for progress, notes and errors."""
    return _console(stderr=True)


def print_line(text: str, style: str = "") -> None:
    """A line for people on stdout."""
    stdout_console().print(escaped(text), style=style, soft_wrap=True)


def print_error(text: str) -> None:
    """An error on stderr, in red. Each line of `text` is printed as a line."""
    for line in text.splitlines():
        stderr_console().print(escaped(line), style="red", soft_wrap=True)


def print_note(text: str) -> None:
    """A note on stderr that is not an error, so that it does not mix with piped output."""
    stderr_console().print(escaped(text), style="dim", soft_wrap=True)


def print_json(value: Any) -> None:
    """A JSON document on one line, flushed. It is ASCII, so it needs no escaping. A number that is not finite becomes null."""
    from model_zoo import strict_json

    print(strict_json.text(strict_json.with_nulls(value)), flush=True)  # noqa: T201


def new_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table with these headings; the columns in `right` are aligned to the right."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD if stdout_console().is_terminal else None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def print_table(renderable: RenderableType) -> None:
    """A table on stdout. If stdout is not a terminal, lines have no blanks at their ends."""
    console = stdout_console()
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as text:
        console.print(renderable)
    for line in text.get().splitlines():
        print(line.rstrip())  # noqa: T201


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
