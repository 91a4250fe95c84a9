"""The canonical form on disk: what Hugging Face `datasets` saves, so that its `load_from_disk` reads it.

Only pyarrow writes and reads it: `datasets` depends on pandas and much else, and takes longer to import than a small upload takes
to validate.

Columns: `label`, `labels` (a list), `number` (one of the three), `split`, `digest`, `origin`, and by kind

    file      images and sounds: path below `files/`
    mask      of images: path of a PNG below `files/`; `numbers` are those of its classes, and `names` their names
    boxes     of images: structs of `label`, `xmin`, `ymin`, `xmax` and `ymax`, which are shares of the upright image
    text      texts and plain text
    text_pair the second texts of pairs
    spans     of texts: structs of `start`, `end` and `label`, in order
    row       tables: a struct with a number or a text for each input column
    values    series: numbers of all channels, step by step
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from service.datasets.dataset import DatasetKind
from service.datasets.readers.parsed_example import ParsedExample, Reader, ReaderSchema, TargetKind
from service.datasets.validation.findings import Findings

EXAMPLES, FILES = "examples", "files"
SHARD = "data-00000-of-00001.arrow"
BATCH, BATCH_BYTES = 1024, 16 << 20
INPUTS = {
    DatasetKind.IMAGE_FOLDER: ("file",),
    DatasetKind.AUDIO_FOLDER: ("file",),
    DatasetKind.TEXT: ("text",),
    DatasetKind.TABLE: ("row",),
    DatasetKind.IMAGE_TABLE: ("file", "row"),
    DatasetKind.SERIES: ("values",),
    DatasetKind.PLAIN_TEXT: ("text",),
    DatasetKind.SPANS: ("text", "spans"),
    DatasetKind.BOXES: ("file", "boxes"),
    DatasetKind.MASKS: ("file", "mask", "numbers", "names"),
}
_TEXT, _NUMBER = {"dtype": "string", "_type": "Value"}, {"dtype": "float64", "_type": "Value"}
_WHOLE = {"dtype": "int64", "_type": "Value"}


def write_examples(reader: Reader, findings: Findings, folder: Path, raw: Path, dataset_id: str) -> None:
    """Write all examples of a reader below `folder`, and move their files there from `raw`. Memory is bounded by one batch."""
    import pyarrow

    features = _features(reader.schema())
    schema = _schema(features)
    used: dict[str, None] = {}
    examples = folder / EXAMPLES
    examples.mkdir()
    with (examples / SHARD).open("wb") as file, pyarrow.ipc.new_stream(file, schema) as stream:
        for parsed in _batches(reader.examples(findings.skip, findings.warn)):
            for example in parsed:
                findings.add(example)
                used |= {example.values[name]: None for name in ("file", "mask") if name in example.values}
            stream.write_batch(_record_batch(parsed, schema))
        findings.refuse()  # before the files are moved in vain
    _write_json(examples / "dataset_info.json", {"features": features})
    _write_json(examples / "state.json", _state(dataset_id))
    for name in used:
        target = folder / FILES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (raw / name).rename(target)
    for path in examples.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())


def _batches(parsed: Iterator[ParsedExample]) -> Iterator[list[ParsedExample]]:
    """Batches that are bounded in the number and in the size of their examples."""
    batch: list[ParsedExample] = []
    size = 0
    for example in parsed:
        batch.append(example)
        size += len(example.values.get("text", "")) + len(example.values.get("text_pair", ""))
        size += 8 * len(example.values.get("values", ()))
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _record_batch(parsed: list[ParsedExample], schema: Any) -> Any:
    """A batch as columns."""
    import pyarrow

    columns: dict[str, list[Any]] = {
        **{name: [example.values[name] for example in parsed] for name in parsed[0].values},
        "label": [example.label for example in parsed],
        "labels": [example.labels for example in parsed],
        "number": [example.number for example in parsed],
        "split": [example.split for example in parsed],
        "digest": [example.digest for example in parsed],
        "origin": [f"{example.file}, row {example.row}" if example.row else example.file for example in parsed],
    }
    return pyarrow.record_batch([pyarrow.array(columns[field.name], field.type) for field in schema], schema=schema)


def _features(shape: ReaderSchema) -> dict[str, Any]:
    """The columns as `datasets` describes them."""
    of: dict[str, Any] = {
        "file": _TEXT,
        "mask": _TEXT,
        "numbers": {"feature": _WHOLE, "_type": "List"},
        "names": {"feature": _TEXT, "_type": "List"},
        "text": _TEXT,
        "text_pair": _TEXT,
        "row": {name: _NUMBER if kind == "number" else _TEXT for name, kind in shape.row_columns},
        "spans": {"feature": {"start": _WHOLE, "end": _WHOLE, "label": _TEXT}, "_type": "List"},
        "boxes": {
            "feature": {"label": _TEXT, **dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), _NUMBER)},
            "_type": "List",
        },
        "values": {"feature": _NUMBER, "_type": "List"},
    }
    inputs = (*INPUTS[shape.kind], *(("text_pair",) if shape.columns.text_pair else ()))
    return {
        **{name: of[name] for name in inputs},
        "label": _TEXT,
        **(
            {"labels": {"feature": _TEXT, "_type": "List"}}
            if shape.target in (TargetKind.CLASSES, TargetKind.SPANS, TargetKind.BOXES, TargetKind.MASK)
            else {}
        ),
        "number": _NUMBER,
        "split": _TEXT,
        "digest": _TEXT,
        "origin": _TEXT,
    }


def _schema(features: dict[str, Any]) -> Any:
    """The columns as Arrow describes them."""
    import pyarrow

    def arrow(feature: dict[str, Any]) -> Any:
        if feature is _TEXT:
            return pyarrow.string()
        if feature is _NUMBER:
            return pyarrow.float64()
        if feature is _WHOLE:
            return pyarrow.int64()
        if feature.get("_type") == "List":
            return pyarrow.list_(arrow(feature["feature"]))
        return pyarrow.struct([(name, arrow(of)) for name, of in feature.items()])

    about = strict_json.text({"info": {"features": features}})
    return pyarrow.schema([(name, arrow(of)) for name, of in features.items()], {"huggingface": about})


def _state(dataset_id: str) -> dict[str, Any]:
    """`state.json`: one file with all examples, in no special format. `datasets` names its caches by the fingerprint."""
    return {
        "_data_files": [{"filename": SHARD}],
        "_fingerprint": dataset_id,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(strict_json.text(content, indent=1), encoding="utf-8")
