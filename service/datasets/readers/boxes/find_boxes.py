"""Finds out whether an archive holds pictures with boxes, and in which format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted
from service.datasets.readers.boxes.coco import coco_files, coco_reader
from service.datasets.readers.boxes.yolo import yolo_files, yolo_names, yolo_reader
from service.datasets.readers.columns.column_roles import refuse_columns
from service.datasets.readers.inferred_facts import Infer
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.parsed_example import Reader
from service.errors import InvalidInput

Found = tuple[Reader, ArchiveFiles, Iterable[PurePosixPath]]


def find_boxes(
    files: ArchiveFiles, kind: DatasetKind | None, columns: Columns, limits: DatasetLimits, infer: Infer
) -> Found | None:
    """The reader, and the files that it uses; None if the archive holds no boxes and `kind` does not say so.

    Raises InvalidInput for files that cannot be read as a whole, or, if `kind` says boxes, for an archive without them.
    """
    if not files.images and kind is None:
        return None
    coco = coco_files(files)
    if not coco and not (yolo_names(files) if kind is None else yolo_files(files)):
        if kind is None:
            return None
        what = "COCO's JSON with images, annotations and categories, nor YOLO's folder labels/ with its data.yaml"
        raise InvalidInput("data", f"the archive holds neither {what}")
    refuse_columns(columns, "boxes")
    if kind is None:
        why = f"{quoted(str(coco[0]))} looks like COCO's JSON" if coco else "labels/ holds boxes of YOLO"
        infer("kind", "boxes", f"{why}; --kind image_folder decides otherwise")
    infer("split", "by folders and names of files, else drawn by Zoo", "names such as train and test tell the splits")
    if coco:
        return coco_reader(files, coco, limits), files, (*files.images, *coco)
    return yolo_reader(files, limits), files, (*files.images, *yolo_files(files))
