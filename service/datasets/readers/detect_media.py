"""Which reader the files of an archive need: a folder for each class, or a table that names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import listed, shown
from service.datasets.overrides import NONE, Overrides
from service.datasets.readers.columns.remaining_columns import rest_of
from service.datasets.readers.columns.schema import DISTINCT, Summary, inspect
from service.datasets.readers.columns.targets import (
    FILES,
    TARGETS,
    by_usual_name,
    check_named,
    find_split,
    find_target,
    kind_of,
)
from service.datasets.readers.inferred import Infer
from service.datasets.readers.media.archive_files import Files
from service.datasets.readers.media.archive_inventory import InArchive, Litter
from service.datasets.readers.media.folder_layout import layout, places
from service.datasets.readers.media.images_audio import MediaFolders, MediaTable
from service.datasets.readers.media.named_files import last_part
from service.datasets.readers.parsed_example import Reader
from service.datasets.readers.tables.table import Table
from service.errors import InvalidInput


def beside(
    reader: Reader, files: Files, used: Iterable[PurePosixPath], what: str, litter: Litter, **why: str
) -> Reader:
    """The reader with what lies beside the files that it uses; `why` by path where they are not of another sort."""
    there = set(used)
    passed = [(path, why.get(str(path), "")) for path in files.all() if path not in there]
    if passed or litter.count or files.empty:
        return InArchive(reader, what, passed, litter, files.empty)
    return reader


def only_table(files: Files, limits: DatasetLimits) -> Table:
    """The table of an archive. Raises InvalidInput where there are several."""
    if len(files.tables) > 1:
        raise InvalidInput("data", several_tables(files))
    return Table(files.root / files.tables[0], str(files.tables[0]), limits)


def several_tables(files: Files) -> str:
    """What to do where one table is wanted and there are more."""
    named = listed([str(path) for path in files.tables])
    return (
        f"the archive holds several tables, {named}; send one, or join those that belong together into one, with paths below"
        " the archive, and a column `split` if each is for another"
    )


def of_media(
    files: Files,
    litter: Litter,
    kind: DatasetKind | None,
    columns: Columns,
    limits: DatasetLimits,
    wishes: Overrides = NONE,
) -> Reader:
    """The reader of pictures or sounds. Raises InvalidInput where it is not clear what is to be learned of them."""
    if kind is None and files.pictures and files.sounds:
        raise InvalidInput("header.kind", "the archive holds pictures and sounds; say which of them are meant")
    sounds = kind is DatasetKind.AUDIO_FOLDER or (kind is None and bool(files.sounds))
    wanted, what = (files.sounds, "sound") if sounds else (files.pictures, "picture")
    if not wanted:
        raise nothing_found("sounds (.wav, .flac, .ogg)" if sounds else "pictures (.jpg, .png, .webp)")
    folder_kind = DatasetKind.AUDIO_FOLDER if sounds else DatasetKind.IMAGE_FOLDER

    def by_folders(unused: str = "", why: str = "") -> Reader:
        try:
            reader = MediaFolders(files, folder_kind, limits)
        except InvalidInput as error:
            raise _with_tables(error, files, unused, why) from None
        if kind is None:
            wishes.infer("kind", folder_kind, f"the archive holds {what}s, and folders name their classes")
        infer_folders(wanted, why, wishes.infer)
        return beside(reader, files, wanted, what, litter, **({unused: why} if unused else {}))

    named = bool(columns.image or columns.target) or kind is DatasetKind.IMAGE_TABLE
    if not named and len(files.tables) != 1:
        return by_folders()
    if not files.tables:
        raise nothing_found("table that names the files (.csv, .tsv, .jsonl or .parquet)")
    table = only_table(files, limits)
    check_named(columns, table.columns)
    summaries = inspect(table, wishes.infer)
    image = columns.image or by_usual_name(FILES, summaries) or _names_files(summaries, wanted)
    if not image:
        if not named:
            return by_folders(table.name, "no column of it names the files")
        raise InvalidInput(
            "header.columns.image", f"cannot tell which column names the files; name one of {listed(table.columns)}"
        )
    rest = rest_of(table, summaries, columns, image)
    split = columns.split or find_split(rest, wishes.infer)
    rest.pop(split, None)
    if not named and not by_usual_name(TARGETS, rest) and len(_classes(wanted)) > 1:
        return by_folders(table.name, "the folders name the classes, and none of its columns is called as a target")
    target = columns.target or find_target(rest, wishes.infer, table.columns)
    summary = rest.pop(target)
    found = kind or (DatasetKind.IMAGE_TABLE if rest and not sounds else folder_kind)
    row = rest if found is DatasetKind.IMAGE_TABLE else {}
    if found is DatasetKind.IMAGE_TABLE and not row:
        raise InvalidInput("header.kind", "the table has no column beside file and target; this is an image folder")
    target_kind = kind_of(summary, number_wanted=found is DatasetKind.IMAGE_TABLE, wishes=wishes, kind=found)
    complete = columns.model_copy(update={"image": image, "target": target, "split": split})
    if kind is None:
        more = f", with {listed(tuple(row))}; --kind {folder_kind} takes the target alone" if row else ""
        wishes.infer("kind", found, f"{shown(table.name)} names the {what}s and what is learned of them{more}")
    if not columns.image:
        wishes.infer("image", image, f"the column names the {what}s; --image decides otherwise")
    if not split:
        _infer_splits({place.split for place in places(wanted)}, wishes.infer)
    reader = MediaTable(files, table, complete, found, target_kind, row, limits, summary.reading)
    return beside(reader, files, (*wanted, *files.tables), what, litter)


def _classes(paths: Sequence[PurePosixPath]) -> list[str]:
    return sorted({place.label for place in places(paths)} - {""})


def _infer_splits(splits: set[str], infer: Infer) -> None:
    named = splits - {""}
    if named:
        infer("split", listed(sorted(named)), "folders are called so")
    else:
        infer("split", "drawn by Zoo", "no folder says which examples are held out; call folders train and test")


def infer_folders(paths: Sequence[PurePosixPath], unused: str, infer: Infer) -> None:
    """Tells what the folders of files were taken for. `unused`: why a table beside them is not used, if there is one."""
    found = layout(paths)
    why = "the files lie in these folders"
    if found.above:
        why += f"; those above, {listed(found.above)}, all hold the same ones and count for nothing"
    if unused:
        why += f"; the table beside them is not used: {unused}"
    infer("classes", listed(_classes(paths)), f"{why}; a table with --target COLUMN decides otherwise")
    _infer_splits({place.split for place in found.places}, infer)
    for folder, split in found.guessed:
        infer(f"folder {shown(folder)}", split, "it has the classes of the folder for training that lies beside it")


def _names_files(summaries: Mapping[str, Summary], paths: Sequence[PurePosixPath]) -> str:
    """A column most of whose values are names of files that are there; with their endings, or without.

    Without, a column must name half of the files, or hold no number: counts and grades look like the names of some.
    """
    names = {path.name for path in paths}
    for name, summary in summaries.items():
        here = sum(PurePosixPath(last_part(value)).name in names for value in summary.distinct)
        if here and 2 * here >= len(summary.distinct):
            return name
    stems = {path.stem for path in paths}
    most = min(len(stems), DISTINCT)
    for name, summary in summaries.items():
        here = sum(last_part(value) in stems for value in summary.distinct)
        if here > 1 and 2 * here >= len(summary.distinct) and (2 * here >= most or not summary.numeric):
            return name
    return ""


def _with_tables(error: InvalidInput, files: Files, unused: str, why: str) -> InvalidInput:
    """The error of folders that name no classes, with what is wrong with the tables beside them."""
    if unused:
        return InvalidInput(error.field, f"{error.problem}; {shown(unused)} does not: {why}")
    return InvalidInput(error.field, f"{error.problem}; {several_tables(files)}") if len(files.tables) > 1 else error


def nothing_found(what: str) -> InvalidInput:
    """The error for an archive that holds nothing of what was asked for."""
    return InvalidInput("data", f"the archive holds no {what}")
