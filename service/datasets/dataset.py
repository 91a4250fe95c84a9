"""A validated dataset as jobs read it, whatever it was uploaded as.

`ZOO_HOME/datasets/<id>/`, which appears by rename, complete, and is never edited afterwards:

    dataset.json     a DatasetInfo
    examples/        the examples in order, as Hugging Face `datasets` writes them (`load_from_disk`)
    files/           pictures and sounds, as they came
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from service.datasets.readers.columns.number_format import Notation
from service.types import Instance


class DatasetKind(StrEnum):
    """What kind of data it is. The words of `fine_tuning.proto`, in lower case."""

    IMAGE_FOLDER = "image_folder"
    AUDIO_FOLDER = "audio_folder"
    TEXT = "text"
    TABLE = "table"
    IMAGE_TABLE = "image_table"
    SERIES = "series"
    PLAIN_TEXT = "plain_text"


MEDIA = (DatasetKind.IMAGE_FOLDER, DatasetKind.AUDIO_FOLDER, DatasetKind.IMAGE_TABLE)
"""Kinds of files in an archive."""


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Columns(_FrozenModel):
    """Which columns mean what, by name; empty where there is none, or where it is to be found out."""

    text: str = ""
    target: str = ""
    image: str = ""
    split: str = ""
    time: str = ""
    series: str = ""
    ignored: tuple[str, ...] = ()


class Skipped(_FrozenModel):
    """An example that cannot be used, and why."""

    file: str
    row: int = 0
    """The first is 1; 0 where the file has no rows."""
    reason: str


class DatasetReport(_FrozenModel):
    """What validation found."""

    examples: int
    class_counts: dict[str, int] = Field(default_factory=dict)
    split_counts: dict[str, int] = Field(default_factory=dict)
    skipped_count: int = 0
    """Of what is counted by `input_count`."""
    skipped: tuple[Skipped, ...] = ()
    """The first of them."""
    warnings: tuple[str, ...] = ()
    duplicates: int = 0
    """Groups of examples with the same content."""
    target_statistics: dict[str, float] = Field(default_factory=dict)
    duration_s: float = 0.0
    input_count: int = 0
    """Rows (of tables, texts and series), lines (of plain text) and files (of archives) that came in. Each is used or skipped."""
    skipped_reasons: dict[str, int] = Field(default_factory=dict)
    """How many were skipped for which reason; together `skipped_count`."""
    inferred: tuple[str, ...] = ()
    """What was found out because nobody said it, and why: one line each."""


class ColumnInfo(_FrozenModel):
    """One input column of a table."""

    name: str
    kind: str
    """`number` or `category`."""
    categories: tuple[str, ...] = ()
    """Those seen, sorted; of a category."""
    decimal: Literal[".", ","] = "."
    grouping: Literal["", ",", ".", " ", "'"] = ""
    unit: str = ""
    """How its numbers are written, see `number_format.py`: decimal sign, sign between thousands, currency or unit."""

    @property
    def notation(self) -> Notation:
        """How its numbers are written."""
        return Notation(self.decimal, self.grouping, self.unit)


class DatasetInfo(_FrozenModel):
    """`dataset.json`."""

    id: str
    display_name: str = ""
    kind: DatasetKind
    sha256: str
    """Of what was uploaded."""
    size_bytes: int
    columns: Columns = Columns()
    """As found."""
    labels: tuple[str, ...] = ()
    """Class names, sorted, where the target is a class; empty where it is a number."""
    inputs: tuple[ColumnInfo, ...] = ()
    """Columns of a table, in order."""
    channels: int = 1
    """Numbers in each step, of series."""
    report: DatasetReport
    created: datetime
    uri: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One example, its input as a caller of the served model would send it."""

    instance: Instance
    target: int | float | None
    """Index into `labels`, or the number to learn; None for series and plain text, which are their own targets."""
    split: str
    """`train`, `validation`, `test`, or empty where the data do not say."""
    digest: str
    """Equal for examples of equal content: they belong into one split."""
    origin: str
    """File (and row) that it came from, for reports."""


class Examples(Protocol):
    """An opened dataset."""

    info: DatasetInfo

    def __len__(self) -> int:
        """How many examples."""

    def __getitem__(self, index: int) -> Example:
        """One of them; reads its file."""


Splits = Mapping[str, tuple[int, ...]]
"""`train`, `validation` and `test` → indices of examples, in rising order, none in two of them."""

DATASETS = "datasets"
"""Folder under ZOO_HOME."""
FEATURES = "features"
"""Folder under ZOO_HOME: what frozen backbones make of data sets, each in `…-<dataset id>/`. It goes with the data set."""


def dataset_folder(home: Path, dataset_id: str) -> Path:
    """Where a dataset lies."""
    return home / DATASETS / dataset_id
