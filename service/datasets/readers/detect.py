"""Which reader a user's data need: what was said of them, and where nothing was said, what they look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from service.datasets.dataset import MEDIA, Columns, DatasetKind, Skipped
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import listed, shown
from service.datasets.overrides import NONE, Overrides, overrides_of
from service.datasets.readers.columns.remaining_columns import rest_of
from service.datasets.readers.columns.schema import Summary, inspect
from service.datasets.readers.columns.targets import TEXTS as TEXT_NAMES
from service.datasets.readers.columns.targets import (
    check_named,
    cleaned,
    find_split,
    find_target,
    kind_of,
    looks_like_data,
)
from service.datasets.readers.columns.text_column import text_column
from service.datasets.readers.file_types import (
    ARCHIVES,
    PACKED,
    TEXTS,
    ending,
)
from service.datasets.readers.inferred import Infer, nowhere
from service.datasets.readers.media.archive_files import Files, look
from service.datasets.readers.media.archive_inventory import Litter
from service.datasets.readers.media.folder_layout import places, split_folders_alone
from service.datasets.readers.parsed_example import Reader
from service.datasets.readers.tables.rows import TableRows
from service.datasets.readers.tables.sniffing import foreign
from service.datasets.readers.tables.table import Table
from service.datasets.readers.text import PlainText, TextFolders, TextTable
from service.datasets.readers.time_series.series_columns import (
    find_time,
    flat,
    like_series,
    series_reader,
)
from service.errors import InvalidInput


def reader_for(
    data: Path,
    file_name: str,
    kind: DatasetKind | None,
    columns: Columns,
    raw: Path,
    limits: DatasetLimits,
    *,
    task: str = "",
    infer: Infer = nowhere,
    left_out: Sequence[Skipped] = (),
) -> Reader:
    """The reader of a file. An archive is unpacked into `raw`. `infer` hears what is found out, and why.

    `task`: what is to be learned, by its Hugging Face id; it decides over what the data look like. `left_out`: files that belong
    to an archive and are not in it. Raises InvalidInput where data and wishes do not fit.
    """
    columns = cleaned(columns)
    wishes = overrides_of(task, kind, infer)
    end = ending(file_name)
    if end in ARCHIVES:
        litter = Litter(left_out)
        from service.datasets.upload.archives import extract  # here and below: what a table needs comes quickly

        extract(data, ARCHIVES[end], raw, limits, litter.add)
        return _of_files(look(raw), litter, kind, columns, limits, wishes)
    if kind in MEDIA:
        raise InvalidInput("header.kind", f"pictures and sounds come in a zip or tar, got {shown(file_name)}")
    if end in TEXTS:
        if kind not in (None, DatasetKind.PLAIN_TEXT):
            raise InvalidInput(
                "header.kind", f"a text file is plain text; {kind} comes as a table, got {shown(file_name)}"
            )
        if what := foreign(data, end):
            raise InvalidInput("data", f"{shown(file_name)} is {what}")
        raw.mkdir(exist_ok=True)
        _infer_plain(
            kind,
            f"a file called {end} is one long text; a table or a folder for each class says otherwise",
            wishes.infer,
        )
        return PlainText(data.parent, [PurePosixPath(data.name)], limits, name=file_name)
    if DatasetKind.PLAIN_TEXT in (kind, *wishes.kinds):
        raise InvalidInput("header.kind", f"plain text comes as .txt, or in a zip or tar, got {shown(file_name)}")
    return _of_table(Table(data, file_name, limits), kind, columns, limits, wishes)


def _of_files(
    files: Files,
    litter: Litter,
    kind: DatasetKind | None,
    columns: Columns,
    limits: DatasetLimits,
    wishes: Overrides = NONE,
) -> Reader:
    from service.datasets.readers.detect_media import (
        beside,
        infer_folders,
        nothing_found,
        of_media,
        only_table,
    )

    kind = wishes.kind_of(kind, tuple(DatasetKind))
    if kind in (None, *MEDIA) and (files.pictures or files.sounds):
        return of_media(files, litter, kind, columns, limits, wishes)
    if kind in (DatasetKind.IMAGE_FOLDER, DatasetKind.IMAGE_TABLE):
        raise nothing_found("pictures (.jpg, .png, .webp)")
    if kind is DatasetKind.AUDIO_FOLDER:
        raise nothing_found("sounds (.wav, .flac, .ogg)")
    if kind is DatasetKind.PLAIN_TEXT or not files.tables:
        if not files.texts:
            inner = next((path for path in files.others if path.suffix.lower() in PACKED), None)
            hint = f", only another archive, {shown(str(inner))}; send that one" if inner else ""
            if not inner and files.others:
                hint = f", only files such as {shown(str(files.others[0]))}; texts are called .txt, .text or .md"
            raise nothing_found(f"pictures, sounds, texts or tables{hint}")
        if kind is not DatasetKind.PLAIN_TEXT and (problem := split_folders_alone(files.texts)):
            hint = "; or read all files as one text (kind plain_text)" if kind is None else ""
            raise InvalidInput("data", problem + hint)
        classes = {place.label for place in places(files.texts)} - {""}
        if kind is DatasetKind.TEXT or (kind is None and len(classes) > 1):
            if kind is None:
                wishes.infer(
                    "kind",
                    "text",
                    "text files lie in a folder for each class; --kind plain_text reads them as one text",
                )
            infer_folders(files.texts, "", wishes.infer)
            return beside(TextFolders(files, limits), files, files.texts, "text", litter)
        if kind in (None, DatasetKind.PLAIN_TEXT):
            why = "text files lie in no folders of classes; put them into CLASS/ for a text each"
            _infer_plain(kind, why, wishes.infer)
            return beside(PlainText(files.root, files.texts, limits), files, files.texts, "text", litter)
        raise nothing_found("table")
    table = only_table(files, limits)
    return beside(_of_table(table, kind, columns, limits, wishes), files, files.tables, "table", litter)


def _infer_plain(kind: DatasetKind | None, why: str, infer: Infer) -> None:
    if kind is None:
        infer("kind", "plain_text", why)
    infer("split", "cut by Zoo", "one long text is trained on from its beginning, and its end is held out")


def _of_table(
    table: Table, kind: DatasetKind | None, columns: Columns, limits: DatasetLimits, wishes: Overrides = NONE
) -> Reader:
    if columns.image:
        raise InvalidInput(
            "header.columns.image", "files are named by a table only inside a zip or tar that holds them"
        )
    check_named(columns, table.columns)
    summaries = inspect(table, wishes.infer)
    rest = rest_of(table, summaries, columns)
    time = columns.time or find_time({name: summaries[name] for name in (*rest, *table.unnamed)})
    if left_out := [name for name in table.unnamed if name not in (*rest, *columns.ignored, time)]:
        columns = columns.model_copy(update={"ignored": (*columns.ignored, *left_out)})
        wishes.infer("columns without a name", f"left out {listed(left_out)}", "an index has no name")
    split = columns.split or find_split(rest, wishes.infer)
    rest.pop(split, None)
    columns = columns.model_copy(update={"split": split})
    if looks_like_data(summaries):
        wishes.infer(
            "header",
            "the first line",
            "a table begins with the names of its columns; this one looks like data: add a line of names if it is",
        )
    kind = wishes.kind_of(kind, (DatasetKind.TEXT, DatasetKind.TABLE, DatasetKind.SERIES))
    if kind is None:
        kind = _kind(rest, columns, time, wishes.infer)
    if kind is DatasetKind.SERIES:
        return series_reader(table, columns, rest, time, limits, wishes.infer)
    if time in table.unnamed and time not in (*rest, *columns.ignored):
        columns = columns.model_copy(update={"ignored": (*columns.ignored, time)})
    if kind is DatasetKind.TEXT:
        text = columns.text or text_column(flat(rest), columns.target)
        if not text:
            if rest:
                raise InvalidInput(
                    "header.columns.text", f"cannot tell which column is the text; name one of {listed(tuple(rest))}"
                )
            raise InvalidInput("header.columns.text", "there is no column left that could hold the text")
        if not columns.text:
            wishes.infer("text", text, f"{_why_text(text)}; --text decides otherwise")
        rest.pop(text)
        target = columns.target or find_target(rest, wishes.infer, table.columns)
        complete = columns.model_copy(update={"text": text, "target": target})
        what = kind_of(summaries[target], wishes=wishes, kind=kind)
        if unused := [name for name in rest if name != target]:
            why = "a text is learned from alone; --kind table uses them instead"
            wishes.infer("columns left out", listed(unused), why)
        return TextTable(table, complete, what, limits, summaries[target].reading)
    target = columns.target or find_target(rest, wishes.infer, table.columns)
    summary = rest.pop(target)
    what = kind_of(summary, wishes=wishes)
    columns = columns.model_copy(update={"target": target})
    return TableRows(table, columns, what, rest, limits, summary.reading)


def _kind(rest: Mapping[str, Summary], columns: Columns, time: str, infer: Infer = nowhere) -> DatasetKind:
    """A series where times go with nothing but numbers, a text where there is a column of prose, else a table."""
    if columns.text:
        infer("kind", "text", "the column of the text was named")
        return DatasetKind.TEXT
    if columns.time or columns.series or (series := like_series(rest, columns, time)):
        why = series if not (columns.time or columns.series) else "the column of the time or of the series was named"
        infer("kind", "series", f"{why}; --kind table decides otherwise")
        return DatasetKind.SERIES
    if text := text_column(flat(rest), columns.target):
        infer("kind", "text", f"{_why_text(text)}; --kind table decides otherwise")
        return DatasetKind.TEXT
    infer("kind", "table", "no column holds texts alone, and none holds times; --kind text or series decides otherwise")
    return DatasetKind.TABLE


def _why_text(text: str) -> str:
    named = text.strip().casefold() in TEXT_NAMES
    return f"texts are often called {shown(text)}" if named else f"column {shown(text)} holds words, hardly any twice"
