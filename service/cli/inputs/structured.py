"""Arguments of `zoo predict` for a model of rows, series or records: JSON itself, or files that hold many inputs.

A row model takes `'{"area": 70}'`, a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`), or a `.json` file with an object or an array
of objects; `-` reads JSON Lines from stdin. A record names its picture in the column that it had in training, in the column
`image`, or in the only column that holds the name of a picture; the path begins in the folder of the file. Columns of the
training table that are not inputs, such as the target, are left out with a note.

A series model takes `'[1, 2, 3]'`, a `.json` file, a `.jsonl` file with a series a line, or a table as in training: each series
in it is forecast. A table without a header holds a step a line; `-` reads a number a line from stdin.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from service.cli.inputs.files import decode_utf8, open_text, read_bytes
from service.cli.inputs.input_source import STDIN, InputSource, UnreadableInput
from service.cli.inputs.json_inputs import json_line_sources, json_source, parse_json
from service.cli.inputs.known_columns import KnownColumns
from service.cli.inputs.paths import ARCHIVES, PICTURES, TABLES, extract_archive, path_type, refuse_url
from service.cli.inputs.plain_series import has_no_header, plain_series
from service.cli.inputs.records import IMAGE
from service.cli.inputs.tables import table_sources


def structured_sources(argument: str, raw_input: str, columns: KnownColumns) -> Iterator[InputSource]:
    """The inputs in one argument, for a model that takes `row`, `series` or `record`."""
    try:
        if argument.lstrip()[:1] in ("{", "["):
            yield json_source(argument, parse_json(argument), raw_input, Path(), columns)
        elif argument == STDIN:
            yield from _stdin_sources(raw_input, columns)
        else:
            yield from _path_sources(argument, raw_input, columns)
    except UnreadableInput as error:
        yield InputSource(argument, problem=str(error))


def _stdin_sources(raw_input: str, columns: KnownColumns) -> Iterator[InputSource]:
    if raw_input == "series":
        yield from plain_series(STDIN, decode_utf8(sys.stdin.buffer.read()))
    else:
        yield from json_line_sources(STDIN, map(decode_utf8, sys.stdin.buffer), raw_input, Path(), columns)


def _path_sources(argument: str, raw_input: str, columns: KnownColumns) -> Iterator[InputSource]:
    """The inputs in a file, or in the only table of a folder or an archive."""
    path, found = Path(argument), path_type(argument)
    if not found:
        refuse_url(argument)
    is_archive = found == "file" and path.name.lower().endswith(ARCHIVES)
    if found != "folder" and not is_archive:
        yield from _file_sources(path, raw_input, columns)
        return
    folder = extract_archive(path) if is_archive else path
    tables = sorted(p for p in folder.rglob("*") if p.suffix.lower() in TABLES and not p.name.startswith("."))
    if len(tables) != 1:
        problem = "holds several tables; give one of them" if tables else "holds no table"
        raise UnreadableInput(problem if is_archive or tables else "is a directory")
    yield from table_sources(tables[0], str(path / tables[0].relative_to(folder)), raw_input, columns)


def _file_sources(path: Path, raw_input: str, columns: KnownColumns) -> Iterator[InputSource]:
    suffix = path.suffix.lower()
    if raw_input == "record" and suffix in PICTURES:
        raise UnreadableInput(
            f'takes a picture with its columns: expected {{"{IMAGE}": "{path.name}", "COLUMN": value}} or a .csv'
        )
    if suffix == ".json":
        document = parse_json(decode_utf8(read_bytes(path)))
        many = isinstance(document, list) and raw_input != "series"
        for i, part in enumerate(document if many else [document]):
            yield json_source(f"{path}:{i + 1}" if many else str(path), part, raw_input, path.parent, columns)
    elif suffix not in TABLES and suffix != ".txt":
        read_bytes(path)  # a missing file is reported first
        raise UnreadableInput(f"expected JSON or a file of .csv, .jsonl or .json, to make a {raw_input} of")
    elif raw_input == "series" and suffix in (".jsonl", ".ndjson") and _begins_with_array(path):
        lines = decode_utf8(read_bytes(path)).splitlines()
        yield from json_line_sources(str(path), lines, raw_input, path.parent, columns)
    elif raw_input == "series" and suffix in (".csv", ".tsv", ".txt") and has_no_header(path):
        yield from plain_series(str(path), decode_utf8(read_bytes(path)))
    else:
        yield from table_sources(path, str(path), raw_input, columns)


def _begins_with_array(path: Path) -> bool:
    with open_text(path) as file:
        return next((line for line in file if line.strip()), "").lstrip()[:1] == "["
