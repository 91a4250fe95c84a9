"""The canonical form on disk: what Hugging Face `datasets` writes, and pyarrow reads back.

Columns: `label`, `number` (one of the two), `split`, `digest`, `origin`, and by kind

    file      pictures and sounds: path below `files/`
    text      texts and plain text
    row       tables: a struct with a number or a text for each input column
    values    series: numbers of all channels, step by step
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.datasets.dataset import DatasetKind
from service.datasets.draft import Draft, Reader, Shape
from service.datasets.findings import Findings

EXAMPLES, FILES = "examples", "files"
BATCH, BATCH_BYTES = 1024, 16 << 20
INPUTS = {
    DatasetKind.IMAGE_FOLDER: ("file",),
    DatasetKind.AUDIO_FOLDER: ("file",),
    DatasetKind.TEXT: ("text",),
    DatasetKind.TABLE: ("row",),
    DatasetKind.IMAGE_TABLE: ("file", "row"),
    DatasetKind.SERIES: ("values",),
    DatasetKind.PLAIN_TEXT: ("text",),
}


def write(reader: Reader, findings: Findings, folder: Path, raw: Path, cache: Path) -> None:
    """Write all examples of a reader below `folder`; files move there from `raw`. Memory stays bounded by a batch."""
    import datasets
    import pyarrow
    from datasets.arrow_writer import ArrowWriter

    datasets.disable_progress_bars()
    features = _features(reader.shape())
    cache.mkdir()
    used: dict[str, None] = {}
    # Whole batches as Arrow tables: example by example, `datasets` takes longer to encode them than all the rest.
    with ArrowWriter(features=features, path=str(cache / "examples.arrow")) as writer:
        for drafts in _batches(reader.drafts(findings.skip, findings.warn)):
            for draft in drafts:
                findings.add(draft)
                if file := draft.values.get("file"):
                    used[file] = None
            records = [_record(draft) for draft in drafts]
            writer.write_table(pyarrow.Table.from_pylist(records, schema=features.arrow_schema))
        findings.refuse()  # before more is done for nothing
        writer.finalize()
    datasets.Dataset.from_file(str(cache / "examples.arrow")).save_to_disk(folder / EXAMPLES)
    for file in used:
        target = folder / FILES / file
        target.parent.mkdir(parents=True, exist_ok=True)
        (raw / file).rename(target)
    for path in (folder / EXAMPLES).iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())


def _batches(drafts: Iterator[Draft]) -> Iterator[list[Draft]]:
    """Bounded in examples and in what they hold."""
    batch: list[Draft] = []
    size = 0
    for draft in drafts:
        batch.append(draft)
        size += len(draft.values.get("text", "")) + 8 * len(draft.values.get("values", ()))
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _record(draft: Draft) -> dict[str, Any]:
    return {
        **draft.values,
        "label": draft.label,
        "number": draft.number,
        "split": draft.split,
        "digest": draft.digest,
        "origin": f"{draft.file}, row {draft.row}" if draft.row else draft.file,
    }


def _features(shape: Shape) -> Any:
    from datasets import Features, List, Value

    of: dict[str, Any] = {
        "file": Value("string"),
        "text": Value("string"),
        "row": {name: Value("float64" if kind == "number" else "string") for name, kind in shape.row_columns},
        "values": List(Value("float64")),
    }
    return Features(
        {
            **{name: of[name] for name in INPUTS[shape.kind]},
            "label": Value("string"),
            "number": Value("float64"),
            "split": Value("string"),
            "digest": Value("string"),
            "origin": Value("string"),
        }
    )
