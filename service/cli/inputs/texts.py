"""Arguments of `zoo predict` for a model of texts.

An argument is a path if it names a file or folder that exists and has a suffix or a folder before it: `notes.md`, `./LICENSE`,
`mails/`. A file is one text; a table gives the text of each row; a folder or an archive gives a text for each file in it.
Any other argument is a text itself, except a URL or the path of a file that does not exist: they are refused, since a prediction
for the name of a file is of no use. stdin takes any text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.inputs.files import has_utf16_mark, open_table, read_bytes
from service.cli.inputs.input_source import InputSource, UnreadableInput
from service.cli.inputs.known_columns import KnownColumns
from service.cli.inputs.paths import ARCHIVES, TABLES, extract_archive, folder_sources, looks_like_path, path_type
from service.cli.rendering.console import print_note

if TYPE_CHECKING:
    from service.datasets.readers.tables.table import Table

_STDIN_HINT = "to send it as a text, give it on stdin: echo TEXT | zoo predict MODEL -"
_LONGEST_PATH = 4096
"""Characters."""
_MOST_COLUMNS_SHOWN = 8
_PAIR = ("text", "text_pair")


def text_sources(
    argument: str, columns: KnownColumns, text_column: str, pair_column: str | None = None
) -> Iterator[InputSource]:
    """The texts that an argument stands for. Raises UnreadableInput. `text_column`: of a table, if the caller names it;
    `pair_column`: that of a second text, if there is one."""
    found = _path_type(argument)
    path = Path(argument)
    if found == "folder":
        for source in folder_sources(path, "text", str(path)):
            yield _file_text(source.value, source.name)
    elif found == "file" and path.suffix.lower() in TABLES:
        yield from _table_texts(path, columns, text_column, pair_column)
    elif found == "file" and path.name.lower().endswith(ARCHIVES):
        for source in folder_sources(extract_archive(path), "text", str(path)):
            yield _file_text(source.value, source.name)
    elif found == "file":
        source = _file_text(path, argument)
        if not source.problem:
            print_note(
                f"{argument!r} is read as one text; for a text a line, give it on stdin: zoo predict MODEL - < FILE"
            )
        yield source
    elif not any(map(str.isspace, argument)) and "://" in argument:
        raise UnreadableInput(f"is a URL, and is not fetched; give the text itself, or a file of it; {_STDIN_HINT}")
    elif looks_like_path(argument):
        raise UnreadableInput(f"there is no file of that name; {_STDIN_HINT}")
    else:
        yield InputSource(argument, argument)


def _path_type(argument: str) -> str:
    """`file` or `folder` if an argument is written as a path and exists, else empty."""
    if not argument.strip() or len(argument) > _LONGEST_PATH or "\n" in argument:
        return ""  # blank text is a text: the model decides whether it takes it
    try:
        found = path_type(argument)
    except UnreadableInput:  # a text that cannot be a path
        return ""
    written_as_path = os.sep in argument or "/" in argument or (found == "file" and "." in argument)
    if found and not written_as_path:
        as_path = f"{argument}/" if found == "folder" else f"./{argument}"
        print_note(f"{argument!r} is sent as a text; for the {found} of that name, write {as_path!r}")
        return ""
    return found


def _file_text(path: Path, name: str) -> InputSource:
    """A file as one text."""
    try:
        data = read_bytes(path)
    except UnreadableInput as error:
        return InputSource(name, problem=str(error))
    try:
        text = data.decode("utf-16" if has_utf16_mark(data) else "utf-8-sig")
    except UnicodeDecodeError:
        return InputSource(name, problem="the file is not UTF-8 text, and the model takes texts")
    if not text.strip():
        return InputSource(name, problem="the file is empty")
    return InputSource(name, text)


def _table_texts(path: Path, columns: KnownColumns, text_column: str, pair_column: str | None) -> Iterator[InputSource]:
    """The text of each row, or its two texts."""
    with open_table(path, str(path)) as table:
        if pair_column is None:
            pair_column = columns.column_of_role("text_pair", table.columns) or None
        name = text_column or columns.column_of_role("text", table.columns) or _find_text_column(table)
        named = [name] if pair_column is None else [name, pair_column]
        for column in named:
            if column not in table.columns:
                raise UnreadableInput(f"the file has no column {column!r}; it has {_listed(table.columns)}")
        others = [other for other in table.columns if other not in named]
        if others:
            print_note(f"the text is column {name!r}; not used: {_listed(others)}")
        for row in table.rows():
            row_name = f"{path}:{row.line or row.number}"
            texts = [row.cells.get(column) for column in named]
            wrong = next((text for text in texts if not isinstance(text, str) or not text.strip()), "fine")
            if row.problem:
                yield InputSource(row_name, problem=row.problem)
            elif wrong == "fine":
                yield InputSource(row_name, texts[0] if len(texts) == 1 else dict(zip(_PAIR, texts, strict=True)))
            else:
                problem = "the text is empty" if wrong in (None, "") else f"{str(wrong)[:80]!r} is not a text"
                yield InputSource(row_name, problem=problem)


def _find_text_column(table: Table) -> str:
    """The column of the text of a table whose columns the caller and the model do not name. Raises UnreadableInput."""
    from service.datasets.readers.columns.column_roles import find_text_column
    from service.datasets.readers.columns.schema import summarize_columns

    names = [name for name in table.columns if name not in table.unnamed]
    if len(names) == 1:
        return names[0]
    summaries = {name: summary for name, summary in summarize_columns(table).items() if name in names}
    if found := find_text_column(summaries, ""):
        return found
    raise UnreadableInput(f"cannot tell which column is the text; name it with --text: {_listed(names)}")


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(map(repr, names[:_MOST_COLUMNS_SHOWN]))
