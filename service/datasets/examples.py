"""Opens datasets. Only pyarrow reads them, memory-mapped; examples have the form in which callers send them to a served model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo import strict_json
from service.datasets.damaged_datasets import DamagedDataset, read_dataset
from service.datasets.dataset import (
    ClassMask,
    DatasetInfo,
    DatasetKind,
    Example,
    LabelledBox,
    Target,
    TextSpan,
    dataset_folder,
)
from service.datasets.validation.canonical import EXAMPLES, FILES
from service.datasets.validation.validate import INFO_FILE
from service.errors import Damaged, NotFound
from service.types import (
    AudioInstance,
    ImageInstance,
    Instance,
    RecordInstance,
    RowInstance,
    SeriesInstance,
    TextInstance,
    TextPairInstance,
)

SEVERAL_LABELS = (DatasetKind.SPANS, DatasetKind.BOXES, DatasetKind.MASKS)
"""Kinds whose examples have any number of labels, each for a part of them."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The targets, splits and digests of all examples, for splits and metrics; building it reads no image or sound."""

    targets: NDArray[np.float64]
    """Index of the class or the number, `[n]`; NaN for series and plain text. Of several classes, or labels of spans, boxes or
    pixels, 1 for each of them and 0 for the others, `[n, classes]`."""
    splits: tuple[str, ...]
    digests: tuple[str, ...]


class StoredExamples:
    """The examples of one dataset (the protocol `Examples`). Threads may share it."""

    def __init__(self, folder: Path, info: DatasetInfo) -> None:
        """Maps the Arrow files below `folder`; they never change."""
        self.info = info
        self._files = folder / FILES
        self._table = _map(folder / EXAMPLES)
        self._index = {label: i for i, label in enumerate(info.labels)}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        values: dict[str, Any] = {name: self._table[name][index].as_py() for name in self._table.column_names}
        return Example(
            instance=self._instance(values),
            target=self._target(values),
            split=values["split"],
            digest=values["digest"],
            origin=values["origin"],
        )

    def outline(self) -> Outline:
        """Targets, splits and digests of all examples, in order."""
        labels = self._table["label"].to_pylist()
        if self.info.multi_label or self.info.kind in SEVERAL_LABELS:
            targets = np.zeros((len(self), len(self.info.labels)), np.float64)
            for row, names in enumerate(self._table["labels"].to_pylist()):
                targets[row, [self._index[name] for name in names if name in self._index]] = 1.0
        elif self.info.labels:
            targets = np.array([self._index[label] for label in labels], np.float64)
        else:
            numbers = self._table["number"].to_pylist()
            targets = np.array([np.nan if number is None else number for number in numbers], np.float64)
        return Outline(targets, tuple(self._table["split"].to_pylist()), tuple(self._table["digest"].to_pylist()))

    def _target(self, values: Mapping[str, Any]) -> Target:
        if self.info.kind is DatasetKind.SPANS:
            known = [span for span in values["spans"] if span["label"] in self._index]
            return tuple(TextSpan(span["start"], span["end"], self._index[span["label"]]) for span in known)
        if self.info.kind is DatasetKind.MASKS:
            numbered = zip(values["numbers"], values["names"], strict=True)
            labels = {number: self._index[name] for number, name in numbered if name in self._index}
            return ClassMask(self._read(values["mask"]), labels)
        if self.info.kind is DatasetKind.BOXES:
            found = [box for box in values["boxes"] if box["label"] in self._index]
            return tuple(LabelledBox(**{**box, "label": self._index[box["label"]]}) for box in found)
        if self.info.multi_label:
            return tuple(sorted(self._index[name] for name in values["labels"] if name in self._index))
        number: float | None = values["number"]
        return number if values["label"] is None else self._index[values["label"]]

    def files(self) -> Iterator[Path]:
        """The paths of the images or sounds of all examples, each once; none for other kinds."""
        names = self._table["file"].to_pylist() if "file" in self._table.column_names else []
        return (self._files / name for name in dict.fromkeys(names))

    def _instance(self, values: Mapping[str, Any]) -> Instance:
        match self.info.kind:
            case DatasetKind.IMAGE_FOLDER | DatasetKind.BOXES | DatasetKind.MASKS:
                return ImageInstance(self._read(values["file"]))
            case DatasetKind.AUDIO_FOLDER:
                return AudioInstance(self._read(values["file"]))
            case DatasetKind.TEXT if "text_pair" in values:
                return TextPairInstance(values["text"].encode(), values["text_pair"].encode())
            case DatasetKind.TEXT | DatasetKind.PLAIN_TEXT | DatasetKind.SPANS:
                return TextInstance(values["text"].encode())
            case DatasetKind.TABLE:
                return RowInstance(values["row"])
            case DatasetKind.IMAGE_TABLE:
                return RecordInstance(
                    {"image": ImageInstance(self._read(values["file"])), "row": RowInstance(values["row"])}
                )
            case DatasetKind.SERIES:
                return SeriesInstance(np.array(values["values"], np.float64).reshape(-1, self.info.channels))

    def _read(self, file: str) -> bytes:
        return (self._files / file).read_bytes()


def open_dataset(home: Path, dataset_id: str) -> StoredExamples:
    """A dataset of a home. Raises NotFound for one that does not exist (any more), Damaged for one that cannot be read.
    Blocks."""
    info = read_info(home, dataset_id)
    if info is None:
        raise NotFound("dataset", dataset_id)
    try:
        examples = StoredExamples(dataset_folder(home, dataset_id), info)
        if len(examples) == info.report.examples:
            return examples
        why = f"it holds {len(examples)} examples, and its {INFO_FILE} announces {info.report.examples}"
    except FileNotFoundError:
        raise NotFound("dataset", dataset_id) from None
    except (OSError, ValueError, KeyError, TypeError):  # pyarrow's errors are subclasses of these
        why = "the file of its examples cannot be read"
    raise Damaged(f"dataset {dataset_id!r}", why, "delete it, and upload the data again")


def read_info(home: Path, dataset_id: str) -> DatasetInfo | None:
    """The `dataset.json` of a dataset; None if it does not exist. Raises Damaged for one that cannot be read. Blocks."""
    found = read_dataset(home, dataset_id) if is_dataset_id(dataset_id) else None
    if isinstance(found, DamagedDataset):
        raise found.error()
    return found


def is_dataset_id(text: str) -> bool:
    """Whether a text can be the id of a dataset: 32 hex digits. Other texts never become a path."""
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


def _map(folder: Path) -> Any:
    """The table that `datasets` wrote: the Arrow streams that `state.json` lists."""
    import pyarrow

    state = strict_json.read((folder / "state.json").read_bytes())
    shards = [
        pyarrow.ipc.open_stream(pyarrow.memory_map(str(folder / file["filename"]))).read_all()
        for file in state["_data_files"]
    ]
    return pyarrow.concat_tables(shards)
