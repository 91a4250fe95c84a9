"""Chooses the reader for a user's data: by what the caller said, and otherwise by what the data look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from service.datasets.dataset import MEDIA, Columns, DatasetKind, Skipped
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted, quoted_list
from service.datasets.overrides import NO_OVERRIDES, Overrides, overrides_for_task
from service.datasets.readers.columns.column_roles import (
    TEXT_NAMES,
    check_named_columns,
    clean_columns,
    find_split,
    find_target,
    find_text_column,
    find_text_pair,
    looks_like_data,
    refuse_separator,
    unassigned_columns,
)
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.schema import summarize_columns
from service.datasets.readers.columns.targets import target_kind_of
from service.datasets.readers.file_types import (
    ARCHIVE_FORMATS,
    CONLL_SUFFIXES,
    PACKED_SUFFIXES,
    TEXT_SUFFIXES,
    file_type,
)
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.media.archive_files import ArchiveFiles, sort_files
from service.datasets.readers.media.archive_inventory import SystemFiles
from service.datasets.readers.media.folder_layout import folder_labels, split_folders_alone
from service.datasets.readers.parsed_example import Reader
from service.datasets.readers.spans.conll import ConllFile, ConllReader, check_conll
from service.datasets.readers.spans.span_table import SpanTableReader, infer_spans
from service.datasets.readers.tables.rows import TableReader
from service.datasets.readers.tables.sniffing import other_file_type
from service.datasets.readers.tables.table import Table
from service.datasets.readers.text import PlainTextReader, TextFolderReader, TextTableReader
from service.datasets.readers.time_series.series_columns import (
    find_time,
    open_series_reader,
    why_series,
    without_list_columns,
)
from service.datasets.split_names import split_from_word
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
    infer: Infer = ignore_inferred,
    left_out: Sequence[Skipped] = (),
) -> Reader:
    """The reader of a file. An archive is extracted into `raw`. `infer` is called for each inferred fact.

    `task`: the task to learn, by its Hugging Face id; it takes precedence over inference. `left_out`: files that belong to an
    archive and are not in it. Raises InvalidInput for data that do not fit what the caller said.
    """
    columns = clean_columns(columns)
    overrides = overrides_for_task(task, kind, infer)
    end = file_type(file_name)
    if end in ARCHIVE_FORMATS:
        system_files = SystemFiles(left_out)
        from service.datasets.upload.archives import (
            extract,
        )  # local imports: tables need neither, and load faster without

        extract(data, ARCHIVE_FORMATS[end], raw, limits, system_files.add)
        return _of_files(sort_files(raw), system_files, kind, columns, limits, overrides)
    if kind in MEDIA:
        raise InvalidInput("header.kind", f"pictures and sounds come in a zip or tar, got {quoted(file_name)}")
    if end in CONLL_SUFFIXES or (end in TEXT_SUFFIXES and DatasetKind.SPANS in (kind, *overrides.kinds)):
        return _of_conll(data, file_name, end, kind, columns, limits, overrides)
    if end in TEXT_SUFFIXES:
        if kind not in (None, DatasetKind.PLAIN_TEXT):
            raise InvalidInput(
                "header.kind", f"a text file is plain text; {kind} comes as a table, got {quoted(file_name)}"
            )
        if what := other_file_type(data, end):
            raise InvalidInput("data", f"{quoted(file_name)} is {what}")
        refuse_separator(columns, "plain text")
        raw.mkdir(exist_ok=True)
        _infer_plain(
            kind,
            f"a {end} file is read as one long text; send a table or a folder for each class for separate texts",
            overrides.infer,
        )
        return PlainTextReader(data.parent, [PurePosixPath(data.name)], limits, name=file_name)
    if DatasetKind.PLAIN_TEXT in (kind, *overrides.kinds):
        raise InvalidInput("header.kind", f"plain text comes as .txt, or in a zip or tar, got {quoted(file_name)}")
    return _of_table(Table(data, file_name, limits), kind, columns, limits, overrides)


def _of_files(
    files: ArchiveFiles,
    system_files: SystemFiles,
    kind: DatasetKind | None,
    columns: Columns,
    limits: DatasetLimits,
    overrides: Overrides = NO_OVERRIDES,
) -> Reader:
    from service.datasets.readers.boxes.find_boxes import find_boxes
    from service.datasets.readers.detect_media import (
        infer_from_folders,
        mask_reader,
        media_reader,
        nothing_found_error,
        single_table,
        with_unused_files,
    )
    from service.datasets.readers.masks.masked_pictures import holds_masks

    kind = overrides.kind_of(kind, tuple(DatasetKind))
    if kind in (None, DatasetKind.BOXES) and (boxes := find_boxes(files, kind, columns, limits, overrides.infer)):
        return with_unused_files(*boxes, "picture with boxes", system_files)
    if kind is DatasetKind.MASKS or (kind is None and holds_masks(files)):
        return mask_reader(files, system_files, kind, columns, limits, overrides)
    if kind in (None, *MEDIA) and (files.images or files.audio):
        return media_reader(files, system_files, kind, columns, limits, overrides)
    words = [path for path in files.others if path.suffix.lower() in CONLL_SUFFIXES]
    words += files.texts if kind is DatasetKind.SPANS else ()
    if words and not files.tables and (kind is DatasetKind.SPANS or (kind is None and not files.texts)):
        check_conll(kind, columns)
        if kind is None:
            overrides.infer("kind", "spans", "the archive holds files with words and their tags")
        found = [ConllFile(files.root / path, str(path), split_from_word(path.stem)) for path in sorted(words)]
        conll = ConllReader(found, limits, overrides.infer)
        return with_unused_files(conll, files, words, "file of words with tags", system_files)
    if kind in (DatasetKind.IMAGE_FOLDER, DatasetKind.IMAGE_TABLE):
        raise nothing_found_error("pictures (.jpg, .png, .webp)")
    if kind is DatasetKind.AUDIO_FOLDER:
        raise nothing_found_error("sounds (.wav, .flac, .ogg)")
    if kind is DatasetKind.PLAIN_TEXT or not files.tables:
        if not files.texts:
            inner = next((path for path in files.others if path.suffix.lower() in PACKED_SUFFIXES), None)
            hint = f", only another archive, {quoted(str(inner))}; send that one" if inner else ""
            if not inner and files.others:
                hint = f", only files such as {quoted(str(files.others[0]))}; texts are called .txt, .text or .md"
            raise nothing_found_error(f"pictures, sounds, texts or tables{hint}")
        if kind is not DatasetKind.PLAIN_TEXT and (problem := split_folders_alone(files.texts)):
            hint = "; or read all files as one text (kind plain_text)" if kind is None else ""
            raise InvalidInput("data", problem + hint)
        classes = {folder.label for folder in folder_labels(files.texts)} - {""}
        if kind is DatasetKind.TEXT or (kind is None and len(classes) > 1):
            if kind is None:
                overrides.infer(
                    "kind",
                    "text",
                    "text files lie in a folder for each class; --kind plain_text reads them as one text",
                )
            refuse_separator(columns, "texts in a folder for each class")
            infer_from_folders(files.texts, "", overrides.infer)
            return with_unused_files(TextFolderReader(files, limits), files, files.texts, "text", system_files)
        if kind in (None, DatasetKind.PLAIN_TEXT):
            refuse_separator(columns, "plain text")
            why = "the text files are in no class folders; put them into CLASS/ to read each as a text"
            _infer_plain(kind, why, overrides.infer)
            return with_unused_files(
                PlainTextReader(files.root, files.texts, limits), files, files.texts, "text", system_files
            )
        raise nothing_found_error("table")
    table = single_table(files, limits)
    return with_unused_files(
        _of_table(table, kind, columns, limits, overrides), files, files.tables, "table", system_files
    )


def _of_conll(
    data: Path,
    name: str,
    end: str,
    kind: DatasetKind | None,
    columns: Columns,
    limits: DatasetLimits,
    overrides: Overrides,
) -> Reader:
    """The reader of one file of words with tags."""
    check_conll(kind, columns)
    if what := other_file_type(data, end):
        raise InvalidInput("data", f"{quoted(name)} is {what}")
    if kind is None:
        overrides.infer("kind", "spans", f"a file with words and their tags is called {end}")
    return ConllReader([ConllFile(data, name)], limits, overrides.infer)


def _infer_plain(kind: DatasetKind | None, why: str, infer: Infer) -> None:
    if kind is None:
        infer("kind", "plain_text", why)
    infer("split", "cut by Zoo", "training uses the beginning of the text, and the end is held out")


def _of_table(
    table: Table, kind: DatasetKind | None, columns: Columns, limits: DatasetLimits, overrides: Overrides = NO_OVERRIDES
) -> Reader:
    if columns.image:
        raise InvalidInput(
            "header.columns.image", "files are named by a table only inside a zip or tar that holds them"
        )
    check_named_columns(columns, table.columns)
    summaries = summarize_columns(table, overrides.infer)
    rest = unassigned_columns(table, summaries, columns)
    time = columns.time or find_time({name: summaries[name] for name in (*rest, *table.unnamed)})
    if left_out := [name for name in table.unnamed if name not in (*rest, *columns.ignored, time)]:
        columns = columns.model_copy(update={"ignored": (*columns.ignored, *left_out)})
        overrides.infer("columns without a name", f"left out {quoted_list(left_out)}", "an index has no name")
    split = columns.split or find_split(rest, overrides.infer)
    rest.pop(split, None)
    columns = columns.model_copy(update={"split": split})
    if looks_like_data(summaries):
        overrides.infer(
            "header",
            "the first line",
            "a table begins with the names of its columns; this one looks like data: add a line of names if it is",
        )
    kind = overrides.kind_of(kind, (DatasetKind.TEXT, DatasetKind.TABLE, DatasetKind.SERIES, DatasetKind.SPANS))
    if kind is None and (spans := infer_spans(rest, columns)):
        overrides.infer("kind", "spans", f"{quoted(spans)} holds lists beside texts; --kind decides otherwise")
        kind = DatasetKind.SPANS
    if columns.text_pair and kind not in (None, DatasetKind.TEXT):
        raise InvalidInput("header.columns.text_pair", f"a second text belongs to texts, and the kind is {kind}")
    if kind is DatasetKind.SPANS:
        return SpanTableReader(table, columns, rest, limits)
    if kind is None:
        kind = _kind(rest, columns, time, overrides.infer)
    if kind is DatasetKind.SERIES:
        refuse_separator(columns, "series")
        return open_series_reader(table, columns, rest, time, limits, overrides.infer)
    if time in table.unnamed and time not in (*rest, *columns.ignored):
        columns = columns.model_copy(update={"ignored": (*columns.ignored, time)})
    if kind is DatasetKind.TEXT:
        text, pair = find_text_pair(rest, columns)
        if pair and not columns.text_pair:
            why = "pairs of texts often have these names; --text alone, or --ignore, decides otherwise"
            overrides.infer("text_pair", pair, f"it stands beside {quoted(text)}: {why}")
        rest.pop(pair, None)
        text = text or find_text_column(without_list_columns(rest), columns.target)
        if not text:
            if rest:
                raise InvalidInput(
                    "header.columns.text",
                    f"cannot tell which column is the text; name one of {quoted_list(tuple(rest))}",
                )
            raise InvalidInput("header.columns.text", "there is no column left that could hold the text")
        if not columns.text:
            overrides.infer("text", text, f"{_why_text(text)}; --text decides otherwise")
        rest.pop(text)
        target = columns.target or find_target(rest, overrides.infer, table.columns)
        complete = columns.model_copy(update={"text": text, "target": target, "text_pair": pair})
        what = target_kind_of(summaries[target], overrides=overrides, kind=kind, separator=columns.label_separator)
        if unused := [name for name in rest if name != target]:
            why = "a text model uses only the text; --kind table uses them instead"
            overrides.infer("columns left out", quoted_list(unused), why)
        return TextTableReader(table, complete, what, limits, summaries[target].reading)
    target = columns.target or find_target(rest, overrides.infer, table.columns)
    summary = rest.pop(target)
    what = target_kind_of(summary, overrides=overrides, separator=columns.label_separator)
    columns = columns.model_copy(update={"target": target})
    return TableReader(table, columns, what, rest, limits, summary.reading)


def _kind(
    rest: Mapping[str, ColumnSummary], columns: Columns, time: str, infer: Infer = ignore_inferred
) -> DatasetKind:
    """A series if times stand beside numbers alone, a text if there is a column of prose, otherwise a table."""
    if columns.text or columns.text_pair:
        infer("kind", "text", "the column of the text was named")
        return DatasetKind.TEXT
    if all(pair := find_text_pair(rest, columns)):
        infer(
            "kind", "text", f"columns {quoted_list(pair)} are called as pairs of texts; --kind table decides otherwise"
        )
        return DatasetKind.TEXT
    if columns.time or columns.series or (series := why_series(rest, columns, time)):
        why = series if not (columns.time or columns.series) else "the column of the time or of the series was named"
        infer("kind", "series", f"{why}; --kind table decides otherwise")
        return DatasetKind.SERIES
    if text := find_text_column(without_list_columns(rest), columns.target):
        infer("kind", "text", f"{_why_text(text)}; --kind table decides otherwise")
        return DatasetKind.TEXT
    infer("kind", "table", "no column holds only texts, and none holds times; --kind text or series decides otherwise")
    return DatasetKind.TABLE


def _why_text(text: str) -> str:
    named = text.strip().casefold() in TEXT_NAMES
    return (
        f"texts often have the name {quoted(text)}"
        if named
        else f"column {quoted(text)} holds words that hardly repeat"
    )
