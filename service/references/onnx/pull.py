"""From an ONNX file to a model of this home: read, tried out, pinned, copied, compared, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from model_zoo.cards.card import Batching, Card
from model_zoo.cards.signature import Signature
from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.card_plan import Given
from model_zoo.references.onnx.facts import MOST_BYTES, OnnxFacts
from model_zoo.references.onnx.tensors_card import (
    GAINFUL_ROWS,
    TASK,
    InputPlan,
    output_specs,
    plan_inputs,
    tensors_fields,
)
from model_zoo.references.reference import Reference
from model_zoo.sources.artifact_source import Progress
from model_zoo.store import Store
from service.references.onnx.agreement import agreed
from service.references.onnx.file_process import read_facts, tried_out
from service.references.publishing import Pulled, Say, pinned, publish_card
from service.runtime.onnx_session import OnnxRuntime
from service.tasks.table import task_for

ROOM = 1.1
"""Free space that a pull needs, as a multiple of the files."""


def pull_onnx(
    reference: Reference, store: Store, home: Path, name: str, given: Given, progress: Progress | None, say: Say
) -> Pulled:
    """Makes a file of this machine a model of this home. Raises as `pull_reference`."""
    shown, path = reference.shown, Path(reference.place)
    _check(shown, path, given)
    facts = read_facts(shown, path)
    stored_bytes = _check_room(shown, path, facts, home)
    plan = plan_inputs(shown, facts, given)
    say(f"{name}: a network with {facts.parameters:,} numbers; it is tried out")
    trial, because = tried_out(
        shown,
        path,
        plan.specs,
        plan.recipe,
        together=not plan.single_rows_because,
        stored_bytes=stored_bytes,
    )
    outputs = output_specs(facts, [{key: array.shape for key, array in row.items()} for row in trial])
    files = {"weights": pinned(path.parent, path.name)}
    files |= {f"external_{i}": pinned(path.parent, other) for i, other in enumerate(facts.external, 1)}
    fields = tensors_fields(shown, facts, plan) | {
        "name": name,
        "reference": str(reference),
        "source": {"kind": "local", "folder": str(path.parent), "files": {k: f.model_dump() for k, f in files.items()}},
        "signature": Signature(inputs=plan.specs, outputs=outputs).model_dump(),
        "batching": _batching(plan, because).model_dump(),
    }
    card = Card.model_validate(fields)
    try:
        made = store.materialise(card, progress)
        say(f"{name}: its served answers are compared with those of the graph as it is written")
        card = agreed(card, shown, task_for(card, made), OnnxRuntime(made.weights, "cpu", 1), trial)
        publish_card(card, home)
    except BaseException:
        store.remove(card)
        raise
    return Pulled(card, made, False)


def _check(shown: str, path: Path, given: Given) -> None:
    if given.task not in ("", TASK):
        raise NotDerivable(shown, f"the file does not say how the input of {given.task} becomes its tensors")
    if given.labels:
        raise NotDerivable(shown, "a model of tensors has no labels")
    try:
        if not path.is_file():
            what = "it is a folder, not a file" if path.exists() else "there is no such file"
            raise SourceUnavailable(shown, what)
        size = path.stat().st_size
    except OSError as error:
        raise SourceUnavailable(shown, "the file cannot be read") from error
    if size > MOST_BYTES:
        raise NotDerivable(shown, f"it has {size:,} bytes, more than {MOST_BYTES:,}, the limit of the format")
    if size == 0:
        raise NotDerivable(shown, "the file is empty")


def _check_room(shown: str, path: Path, facts: OnnxFacts, home: Path) -> int:
    """Bytes of all files of the network. Raises NotDerivable with the figures where the disk has no room for them."""
    stored = path.stat().st_size + sum((path.parent / name).stat().st_size for name in facts.external)
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free
    if ROOM * stored > free:
        raise NotDerivable(shown, f"it needs {stored / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free")
    return stored


def _batching(plan: InputPlan, because: str) -> Batching:
    reason = plan.single_rows_because or because
    rows = 1 if reason else plan.max_batch_size
    return Batching(max_batch_size=rows, cpu_batch_size=min(rows, GAINFUL_ROWS), single_rows_because=reason)
