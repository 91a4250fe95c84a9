"""Pictures with boxes around their objects, whatever format names them: each is checked, and its boxes become shares of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import counted, quoted, quoted_list
from service.datasets.readers.columns.targets import read_class_folder
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.media.decode_check import check_image
from service.datasets.readers.media.images import upright_size
from service.datasets.readers.parsed_example import ParsedExample, ReaderSchema, Skip, TargetKind, Warn, digest_of

SLACK = 0.01
"""Share of a side by which a box may reach outside of the picture: programs round in different ways. It is cut off there."""
MAX_BOXES = 1_000
"""Of one picture: a job compares each of them with each place of the picture."""


@dataclass(frozen=True, slots=True)
class GivenBox:
    """A box as a file has it."""

    where: str
    """For errors: `annotation 7`, `line 3`."""
    label: str
    corners: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax."""


@dataclass(frozen=True, slots=True)
class GivenPicture:
    """A picture and its boxes as files have them."""

    origin: str
    """For reports: the picture's name."""
    path: PurePosixPath | None
    """Below the archive; None where there is no such file."""
    boxes: tuple[GivenBox, ...] = ()
    shares: bool = False
    """Whether corners are shares of the picture, 0..1, and not pixels."""
    size: tuple[int, int] | None = None
    """Width and height for which the boxes were drawn; None where no file says so."""
    split: str = ""
    problem: str = ""
    """Why the picture cannot be used; empty if it can."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Something that belongs to no picture."""

    file: str
    reason: str


class BoxReader:
    """Reads annotated pictures (the protocol `Reader`). A picture with one wrong box is left out: without that box, the network
    would learn that nothing is there."""

    def __init__(
        self,
        files: ArchiveFiles,
        pictures: Sequence[GivenPicture],
        limits: DatasetLimits,
        strays: Sequence[Stray] = (),
        remarks: Sequence[str] = (),
        *,
        classes: Sequence[str],
    ) -> None:
        """`remarks`: warnings about the files as a whole; `classes`: the names that files give, in any order."""
        self._classes = classes
        self._files, self._pictures, self._limits = files, pictures, limits
        self._strays, self._remarks = strays, remarks

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.BOXES, Columns(), TargetKind.BOXES)

    def input_count(self) -> int:
        """See `Reader`."""
        return len(self._pictures) + len(self._strays)

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each picture, in the order in which they are named."""
        for remark in self._remarks:
            warn(remark)
        cut = empty = 0
        seen: set[PurePosixPath] = set()
        boxed: set[str] = set()
        for given in self._pictures:
            problem, example = given.problem, None
            if not problem and given.path in seen:
                problem = "its picture is named before"
            if given.path is not None and not problem:
                seen.add(given.path)
                example, problem, outside = self._read(given, given.path)
                cut += outside if not problem else 0
            if problem or example is None:
                skip(given.origin, 0, problem)
                continue
            empty += not example.labels
            boxed.update(example.labels or ())
            yield example
        for stray in self._strays:
            skip(stray.file, 0, stray.reason, example=False)
        if cut:
            warn(f"{cut} {'box was' if cut == 1 else 'boxes were'} cut off at the edge of the picture")
        if unused := sorted(
            {read_class_folder(name, self._limits.name_characters)[0] for name in self._classes} - boxed
        ):
            warn(f"classes without a box, which were left out: {quoted_list(unused)}")
        if empty:
            warn(f"{counted(empty, 'picture')} without a box: the network learns that nothing is there")

    def _read(self, given: GivenPicture, path: PurePosixPath) -> tuple[ParsedExample | None, str, int]:
        """(example, "", boxes that were cut off), or (None, what is wrong, 0)."""
        data, problem = check_image(self._files.root / path, self._limits)
        if problem:
            return None, problem, 0
        width, height = upright_size(data, self._limits.pixels)
        if given.size not in (None, (width, height)):
            assert given.size is not None
            stated = f"{given.size[0]} × {given.size[1]}"
            return None, f"is {width} × {height} pixels upright, and its boxes were drawn for {stated}", 0
        if len(given.boxes) > MAX_BOXES:
            return None, f"has {len(given.boxes):,} boxes; at most {MAX_BOXES:,} are taken", 0
        boxes, cut = [], 0
        for box in given.boxes:
            label, problem = read_class_folder(box.label, self._limits.name_characters)
            if not label:
                problem = problem or "has a class without a name"
            if not problem:
                corners, problem = placed(box.corners, (1, 1) if given.shares else (width, height))
                cut += corners[1]
            if problem:
                return None, f"{box.where} {problem}", 0
            names = ("xmin", "ymin", "xmax", "ymax")
            boxes.append({"label": label, **dict(zip(names, corners[0], strict=True))})
        labels = tuple(sorted({str(box["label"]) for box in boxes}))
        values = {"file": str(path), "boxes": boxes}
        return ParsedExample(values, digest_of(data), str(path), labels=labels, split=given.split), "", cut


def placed(
    corners: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[tuple[tuple[float, float, float, float], bool], str]:
    """((corners as shares of the picture, whether the box was cut off), "") of a box, or what is wrong with it.

    Args:
        size: width and height of the picture, in the unit of the corners.
    """
    nothing = ((0.0, 0.0, 0.0, 0.0), False)
    shown = f"({', '.join(f'{edge:g}' for edge in corners)})"
    if not all(math.isfinite(edge) for edge in corners):
        return nothing, f"has the corners {shown}, which are not all finite"
    x0, y0, x1, y1 = (edge / size[axis % 2] for axis, edge in enumerate(corners))
    if x1 < x0 or y1 < y0:
        return nothing, f"has a negative width or height; its corners are {shown}"
    if x1 == x0 or y1 == y0:
        return nothing, f"has no area; its corners are {shown}"
    whole = f"{size[0]} × {size[1]} pixels" if size != (1, 1) else "1 × 1"
    if x1 <= 0 or y1 <= 0 or x0 >= 1 or y0 >= 1:
        return nothing, f"lies outside of the picture of {whole}; its corners are {shown}"
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0))
    slack = [max(SLACK, 1 / size[axis] if size != (1, 1) else 0.0) for axis in (0, 1)]
    if any(abs(a - b) > slack[axis % 2] for axis, (a, b) in enumerate(zip((x0, y0, x1, y1), inside, strict=True))):
        return nothing, f"reaches outside of the picture of {whole}; its corners are {shown}"
    return (inside, inside != (x0, y0, x1, y1)), ""


def missing_picture(name: str) -> str:
    """The problem of annotations that name a picture which is not there."""
    return f"there is no picture {quoted(name)} in the archive"
