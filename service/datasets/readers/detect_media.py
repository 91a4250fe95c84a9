"""Chooses the reader for the files of an archive: a folder for each class, or a table that names the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted, quoted_list
from service.datasets.overrides import NO_OVERRIDES, Overrides
from service.datasets.readers.columns.column_roles import (
    FILE_NAMES,
    TARGET_NAMES,
    check_named_columns,
    find_by_name,
    find_split,
    find_target,
    refuse_columns,
    refuse_separator,
    unassigned_columns,
)
from service.datasets.readers.columns.column_summary import DISTINCT, ColumnSummary
from service.datasets.readers.columns.schema import summarize_columns
from service.datasets.readers.columns.targets import has_several, target_kind_of
from service.datasets.readers.inferred_facts import Infer
from service.datasets.readers.masks.masked_pictures import MaskReader, holds_masks
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.media.archive_inventory import ArchiveReader, SystemFiles
from service.datasets.readers.media.folder_layout import folder_labels, read_layout
from service.datasets.readers.media.images_audio import MediaFolderReader, MediaTableReader
from service.datasets.readers.media.named_files import file_name_in
from service.datasets.readers.parsed_example import Reader
from service.datasets.readers.tables.table import Table
from service.datasets.split_names import split_from_folder
from service.errors import InvalidInput

NO_REASONS: Mapping[str, str] = MappingProxyType({})


def with_unused_files(
    reader: Reader,
    files: ArchiveFiles,
    used: Iterable[PurePosixPath],
    what: str,
    system_files: SystemFiles,
    reasons: Mapping[str, str] = NO_REASONS,
) -> Reader:
    """The reader together with the files that it does not use; `reasons`: by path, for files that could have been used."""
    in_use = set(used)
    unused = [(path, reasons.get(str(path), "")) for path in files.all() if path not in in_use]
    if unused or system_files.count or files.empty:
        return ArchiveReader(reader, what, unused, system_files, files.empty)
    return reader


def single_table(files: ArchiveFiles, limits: DatasetLimits) -> Table:
    """The table of an archive. Raises InvalidInput if there are several."""
    if len(files.tables) > 1:
        raise InvalidInput("data", several_tables_problem(files))
    return Table(files.root / files.tables[0], str(files.tables[0]), limits)


def several_tables_problem(files: ArchiveFiles) -> str:
    """The message about an archive with several tables."""
    named = quoted_list([str(path) for path in files.tables])
    return (
        f"the archive holds several tables, {named}; send one, or join those that belong together into one, with paths below"
        " the archive, and a column `split` if each is for another"
    )


def media_reader(
    files: ArchiveFiles,
    system_files: SystemFiles,
    kind: DatasetKind | None,
    columns: Columns,
    limits: DatasetLimits,
    overrides: Overrides = NO_OVERRIDES,
) -> Reader:
    """The reader of images or sounds. Raises InvalidInput if it is not clear what to learn from them."""
    if kind is None and files.images and files.audio:
        raise InvalidInput("header.kind", "the archive holds pictures and sounds; say which of them are meant")
    sounds = kind is DatasetKind.AUDIO_FOLDER or (kind is None and bool(files.audio))
    wanted, what = (files.audio, "sound") if sounds else (files.images, "picture")
    if not wanted:
        raise nothing_found_error("sounds (.wav, .flac, .ogg)" if sounds else "pictures (.jpg, .png, .webp)")
    folder_kind = DatasetKind.AUDIO_FOLDER if sounds else DatasetKind.IMAGE_FOLDER

    def by_folders(unused: str = "", why: str = "") -> Reader:
        refuse_separator(columns, f"{what}s in a folder for each class")
        try:
            reader = MediaFolderReader(files, folder_kind, limits)
        except InvalidInput as error:
            raise _with_tables(error, files, unused, why) from None
        if kind is None:
            overrides.infer("kind", folder_kind, f"the archive holds {what}s, and folders name their classes")
        infer_from_folders(wanted, why, overrides.infer)
        return with_unused_files(reader, files, wanted, what, system_files, {unused: why} if unused else NO_REASONS)

    named = bool(columns.image or columns.target) or kind is DatasetKind.IMAGE_TABLE
    if not named and len(files.tables) != 1:
        return by_folders()
    if not files.tables:
        raise nothing_found_error("table that names the files (.csv, .tsv, .jsonl or .parquet)")
    table = single_table(files, limits)
    check_named_columns(columns, table.columns)
    summaries = summarize_columns(table, overrides.infer)
    image = columns.image or find_by_name(FILE_NAMES, summaries) or _names_files(summaries, wanted)
    if not image:
        if not named:
            return by_folders(table.name, "no column of it names the files")
        raise InvalidInput(
            "header.columns.image",
            f"cannot tell which column names the files; name one of {quoted_list(table.columns)}",
        )
    rest = unassigned_columns(table, summaries, columns, image)
    split = columns.split or find_split(rest, overrides.infer)
    rest.pop(split, None)
    if not named and not find_by_name(TARGET_NAMES, rest) and len(_classes(wanted)) > 1:
        return by_folders(table.name, "the folders name the classes, and none of its columns is called as a target")
    target = columns.target or find_target(rest, overrides.infer, table.columns)
    summary = rest.pop(target)
    several = bool(columns.label_separator) or has_several(
        summary
    )  # which only the pictures themselves are learned for
    found = kind or (DatasetKind.IMAGE_TABLE if rest and not sounds and not several else folder_kind)
    row = rest if found is DatasetKind.IMAGE_TABLE else {}
    if found is DatasetKind.IMAGE_TABLE and not row:
        raise InvalidInput("header.kind", "the table has no column beside file and target; this is an image folder")
    if found is DatasetKind.IMAGE_TABLE and several:
        problem = f"{quoted(target)} holds several classes, which are learned of pictures alone: use kind {folder_kind}"
        raise InvalidInput("header.kind", problem)
    target_kind = target_kind_of(
        summary,
        number_wanted=found is DatasetKind.IMAGE_TABLE,
        overrides=overrides,
        kind=found,
        separator=columns.label_separator,
    )
    complete = columns.model_copy(update={"image": image, "target": target, "split": split})
    if kind is None:
        more = f", with {quoted_list(tuple(row))}; --kind {folder_kind} takes the target alone" if row else ""
        if several and rest:
            more = f"; several classes are learned of {what}s alone, without {quoted_list(tuple(rest))}"
        overrides.infer("kind", found, f"{quoted(table.name)} names the {what}s and what is learned of them{more}")
    if not columns.image:
        overrides.infer("image", image, f"the column names the {what}s; --image decides otherwise")
    if not split:
        _infer_splits({folder.split for folder in folder_labels(wanted)}, overrides.infer)
    reader = MediaTableReader(files, table, complete, found, target_kind, row, limits, summary.reading)
    return with_unused_files(reader, files, (*wanted, *files.tables), what, system_files)


def mask_reader(
    files: ArchiveFiles,
    system_files: SystemFiles,
    kind: DatasetKind | None,
    columns: Columns,
    limits: DatasetLimits,
    overrides: Overrides,
) -> Reader:
    """The reader of pictures with masks. Raises InvalidInput if there are none."""
    if not holds_masks(files):
        raise nothing_found_error("picture below images/ with a PNG of the same name below masks/")
    refuse_columns(columns, "masks")
    if kind is None:
        why = "pictures lie below images/, and PNG files of the same names below masks/"
        overrides.infer("kind", "masks", f"{why}; --kind image_folder decides otherwise")
    reader = MaskReader(files, limits)
    _infer_splits({split_from_folder(part) for path in files.images for part in path.parts[:-1]}, overrides.infer)
    return with_unused_files(reader, files, reader.used(), "picture with a mask", system_files)


def _classes(paths: Sequence[PurePosixPath]) -> list[str]:
    return sorted({folder.label for folder in folder_labels(paths)} - {""})


def _infer_splits(splits: set[str], infer: Infer) -> None:
    named = splits - {""}
    if named:
        infer("split", quoted_list(sorted(named)), "folders have these names")
    else:
        infer("split", "drawn by Zoo", "no folder tells which examples are held out; name folders train and test")


def infer_from_folders(paths: Sequence[PurePosixPath], unused: str, infer: Infer) -> None:
    """Reports what the folders were taken for. `unused`: why a table beside them is not used, if there is one."""
    found = read_layout(paths)
    why = "the files are in these folders"
    if found.above:
        why += f"; the folders above, {quoted_list(found.above)}, all contain the same ones and are ignored"
    if unused:
        why += f"; the table beside them is not used: {unused}"
    infer("classes", quoted_list(_classes(paths)), f"{why}; a table with --target COLUMN decides otherwise")
    _infer_splits({folder.split for folder in found.labels}, infer)
    for folder, split in found.guessed:
        infer(f"folder {quoted(folder)}", split, "it has the same classes as the training folder beside it")


def _names_files(summaries: Mapping[str, ColumnSummary], paths: Sequence[PurePosixPath]) -> str:
    """A column most of whose values are names of existing files, with or without their suffixes.

    Without suffixes, a column must name half of the files or hold no numbers: counts and grades look like names of some files.
    """
    names = {path.name for path in paths}
    for name, summary in summaries.items():
        here = sum(PurePosixPath(file_name_in(value)).name in names for value in summary.distinct)
        if here and 2 * here >= len(summary.distinct):
            return name
    stems = {path.stem for path in paths}
    most = min(len(stems), DISTINCT)
    for name, summary in summaries.items():
        here = sum(file_name_in(value) in stems for value in summary.distinct)
        if here > 1 and 2 * here >= len(summary.distinct) and (2 * here >= most or not summary.numeric):
            return name
    return ""


def _with_tables(error: InvalidInput, files: ArchiveFiles, unused: str, why: str) -> InvalidInput:
    """The error of folders that name no classes, with the reason why the tables beside them do not either."""
    if unused:
        return InvalidInput(error.field, f"{error.problem}; {quoted(unused)} does not: {why}")
    return (
        InvalidInput(error.field, f"{error.problem}; {several_tables_problem(files)}")
        if len(files.tables) > 1
        else error
    )


def nothing_found_error(what: str) -> InvalidInput:
    """The error for an archive without the requested data."""
    return InvalidInput("data", f"the archive holds no {what}")
