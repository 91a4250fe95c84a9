"""A validated dataset as jobs read it, independent of the format of its upload.

`ZOO_HOME/datasets/<id>/` appears by rename, complete, and is never edited afterwards:

    dataset.json     a DatasetInfo
    examples/        the examples in order, as Hugging Face `datasets` writes them (`load_from_disk`)
    files/           images and sounds, as they were uploaded
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from service.datasets.readers.columns.number_format import Notation
from service.types import Instance


class DatasetKind(StrEnum):
    """The kind of data. The values are those of `fine_tuning.proto`, in lower case."""

    IMAGE_FOLDER = "image_folder"
    AUDIO_FOLDER = "audio_folder"
    TEXT = "text"
    TABLE = "table"
    IMAGE_TABLE = "image_table"
    SERIES = "series"
    PLAIN_TEXT = "plain_text"
    SPANS = "spans"
    BOXES = "boxes"
    MASKS = "masks"


MEDIA = (
    DatasetKind.IMAGE_FOLDER,
    DatasetKind.AUDIO_FOLDER,
    DatasetKind.IMAGE_TABLE,
    DatasetKind.BOXES,
    DatasetKind.MASKS,
)
"""Kinds whose examples are files of an archive."""


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Columns(_FrozenModel):
    """The columns by role. An empty role is absent, or is to be inferred."""

    text: str = ""
    target: str = ""
    image: str = ""
    split: str = ""
    time: str = ""
    series: str = ""
    text_pair: str = ""
    """The second of two texts that are read together."""
    label_separator: str = ""
    """No column: the text between the classes of the target, where a row of a CSV has several."""
    ignored: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out fields that came later where they are empty: ids of data sets are made of what is written here."""
        written: dict[str, Any] = write(self)
        return {name: value for name, value in written.items() if value or name not in _LATER_COLUMNS}

    def roles(self) -> dict[str, str]:
        """The column of each role except `ignored`; empty for a role without a column."""
        return {
            "text": self.text,
            "target": self.target,
            "image": self.image,
            "split": self.split,
            "time": self.time,
            "series": self.series,
            "text_pair": self.text_pair,
        }


_LATER_COLUMNS = frozenset({"text_pair", "label_separator"})


class Skipped(_FrozenModel):
    """An input that is not used, and why."""

    file: str
    row: int = 0
    """The first is 1; 0 for a file without rows."""
    reason: str


class DatasetReport(_FrozenModel):
    """The findings of validation."""

    examples: int
    class_counts: dict[str, int] = Field(default_factory=dict)
    split_counts: dict[str, int] = Field(default_factory=dict)
    skipped_count: int = 0
    """Skipped inputs among those of `input_count`."""
    skipped: tuple[Skipped, ...] = ()
    """The first skipped inputs."""
    warnings: tuple[str, ...] = ()
    duplicates: int = 0
    """Groups of examples with the same content."""
    target_statistics: dict[str, float] = Field(default_factory=dict)
    duration_s: float = 0.0
    input_count: int = 0
    """Rows (of tables, texts and series), lines (of plain text) and files (of archives) received. Each is used or skipped."""
    skipped_reasons: dict[str, int] = Field(default_factory=dict)
    """Skipped inputs by reason; the counts add up to `skipped_count`."""
    inferred: tuple[str, ...] = ()
    """The facts that validation inferred, with reasons: one line each."""


class ColumnInfo(_FrozenModel):
    """One input column of a table."""

    name: str
    kind: str
    """`number` or `category`."""
    categories: tuple[str, ...] = ()
    """The categories of a `category` column, sorted."""
    decimal: Literal[".", ","] = "."
    grouping: Literal["", ",", ".", " ", "'"] = ""
    unit: str = ""
    """The format of its numbers, see `number_format.py`: decimal sign, thousands separator, currency or unit."""

    @property
    def notation(self) -> Notation:
        """The format of its numbers."""
        return Notation(self.decimal, self.grouping, self.unit)


class DatasetInfo(_FrozenModel):
    """`dataset.json`."""

    id: str
    display_name: str = ""
    kind: DatasetKind
    sha256: str
    """Of the uploaded bytes."""
    size_bytes: int
    columns: Columns = Columns()
    """As named or inferred."""
    labels: tuple[str, ...] = ()
    """Class names, sorted, if the target is a class, or the labels of spans or boxes; empty for a number."""
    multi_label: bool = False
    """Whether an example has any number of the classes, rather than one."""
    inputs: tuple[ColumnInfo, ...] = ()
    """Input columns of a table, in order."""
    channels: int = 1
    """Numbers in each step of a series."""
    report: DatasetReport
    created: datetime
    uri: str = ""
    owner: str = ""

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what came later where it is not needed, so that an earlier Zoo reads all other data sets."""
        written: dict[str, Any] = write(self)
        return {name: value for name, value in written.items() if value or name != "multi_label"}


@dataclass(frozen=True, slots=True)
class TextSpan:
    """Characters of a text from `start` to `end`, the one after the last, in Unicode code points."""

    start: int
    end: int
    label: int
    """Index into `labels`."""


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box around an object of a picture; its edges are shares of the upright picture, 0..1."""

    label: int
    """Index into `labels`."""
    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclass(frozen=True, slots=True)
class ClassMask:
    """The class of each pixel of a picture."""

    data: bytes
    """A PNG of the size of the upright picture, whose pixels are numbers."""
    labels: Mapping[int, int]
    """Number → index into `labels`; pixels with other numbers are not learned from."""


MASK_IGNORED = 255
"""The number of pixels without a class."""

Target = int | float | tuple[int, ...] | tuple[TextSpan, ...] | tuple[LabelledBox, ...] | ClassMask | None


@dataclass(frozen=True, slots=True)
class Example:
    """One example; its input has the form in which a caller sends it to the served model."""

    instance: Instance
    target: Target
    """Index into `labels`, or several, ascending; the spans of a text in their order; the boxes or the mask of a picture; or the
    number to learn; None for series and plain text, which are their own targets."""
    split: str
    """`train`, `validation`, `test`, or empty if the data do not say."""
    digest: str
    """Equal for examples of equal content, which belong into one split."""
    origin: str
    """The file (and row) of the example, for reports."""


class Examples(Protocol):
    """An opened dataset."""

    info: DatasetInfo

    def __len__(self) -> int:
        """The number of examples."""

    def __getitem__(self, index: int) -> Example:
        """One example; reads its file."""


Splits = Mapping[str, tuple[int, ...]]
"""`train`, `validation` and `test` → indices of examples, ascending; no index is in two of them."""

DATASETS = "datasets"
"""Folder under ZOO_HOME."""
FEATURES = "features"
"""Folder under ZOO_HOME: features that frozen backbones computed, each in `…-<dataset id>/`. Deleted with the dataset."""


def dataset_folder(home: Path, dataset_id: str) -> Path:
    """The folder of a dataset."""
    return home / DATASETS / dataset_id
