"""What an argument of `zoo predict` means for a model of texts.

It is a path where it names a file or folder that is there, and has an ending or a folder in front: `notes.md`, `./LICENSE`,
`mails/`. A file is one text; a table gives the text of each row; a folder or an archive gives a text for each file in it.
Anything else is a text itself. A URL, and what has the form of a path and is not there, are refused: nobody wants to know what a
model makes of a file's name. Any text may be sent through stdin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from service.cli.inputs.files import content, opened
from service.cli.inputs.known_columns import Known, Unreadable
from service.cli.inputs.sources import (
    ARCHIVES,
    TABLES,
    Source,
    folder_of,
    is_named_as_file,
    unpacked,
    what_is,
)
from service.cli.rendering.console import print_note

_PIPE = "to send it as a text, give it on stdin: echo TEXT | zoo predict MODEL -"
_LONGEST_NAME = 4096


def of_text_model(argument: str, known: Known, column: str) -> Iterator[Source]:
    """The texts that an argument stands for; `column`: of a table, where that was named. Raises Unreadable."""
    found = _path(argument)
    path = Path(argument)
    if found == "folder":
        for source in folder_of(path, "text", str(path)):
            yield _whole(source.value, source.name)
    elif found == "file" and path.suffix.lower() in TABLES:
        yield from _of_table(path, known, column)
    elif found == "file" and path.name.lower().endswith(ARCHIVES):
        for source in folder_of(unpacked(path), "text", str(path)):
            yield _whole(source.value, source.name)
    elif found == "file":
        source = _whole(path, argument)
        print_note(f"{argument!r} is read as one text; for a text a line, give it on stdin: zoo predict MODEL - < FILE")
        yield source
    elif not any(map(str.isspace, argument)) and "://" in argument:
        raise Unreadable(f"is a URL, and is not fetched; give the text itself, or a file of it; {_PIPE}")
    elif is_named_as_file(argument):
        raise Unreadable(f"there is no file of that name; {_PIPE}")
    else:
        yield Source(argument, argument)


def _path(argument: str) -> str:
    """`file` or `folder` where an argument has the form of a path that is there."""
    if not argument.strip() or len(argument) > _LONGEST_NAME or "\n" in argument:
        return ""  # nothing in it is a text, too: the model says whether it takes one
    try:
        found = what_is(argument)
    except Unreadable:  # a text like any other
        return ""
    formed = os.sep in argument or "/" in argument or (found == "file" and "." in argument)
    if found and not formed:
        inside = f"{argument}/" if found == "folder" else f"./{argument}"
        print_note(f"{argument!r} is sent as a text; for the {found} of that name, write {inside!r}")
        return ""
    return found


def _whole(path: Path, name: str) -> Source:
    """A file as one text."""
    try:
        data = content(path)
    except Unreadable as error:
        return Source(name, problem=str(error))
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return Source(name, problem="the file is not UTF-8 text")
    if not text.strip():
        return Source(name, problem="the file is empty")
    return Source(name, text)


def _of_table(path: Path, known: Known, column: str) -> Iterator[Source]:
    """The text of each row."""
    with opened(path, str(path)) as table:
        name = column or known.role("text", table.columns) or _likely(table)
        if name not in table.columns:
            raise Unreadable(f"the file has no column {name!r}; it has {', '.join(map(repr, table.columns[:8]))}")
        others = [other for other in table.columns if other != name]
        if others:
            print_note(f"the text is column {name!r}; passed over: {', '.join(map(repr, others[:8]))}")
        for row in table.rows():
            at = f"{path}:{row.line or row.number}"
            text = row.cells.get(name)
            if row.problem:
                yield Source(at, problem=row.problem)
            elif isinstance(text, str) and text.strip():
                yield Source(at, text)
            else:
                yield Source(
                    at, problem="the text is empty" if text in (None, "") else f"{str(text)[:80]!r} is no text"
                )


def _likely(table: object) -> str:
    """The column of the text, where nobody said which it is. Raises Unreadable."""
    from service.datasets.readers.columns.column_roles import find_text_column
    from service.datasets.readers.columns.schema import summarize_columns
    from service.datasets.readers.tables.table import Table

    assert isinstance(table, Table)
    names = [name for name in table.columns if name not in table.unnamed]
    if len(names) == 1:
        return names[0]
    summaries = {name: summary for name, summary in summarize_columns(table).items() if name in names}
    if found := find_text_column(summaries, ""):
        return found
    raise Unreadable(f"cannot tell which column is the text; name it with --text: {', '.join(map(repr, names[:8]))}")
