"""From an ONNX file to a model of this home: read, tried out, pinned, copied, compared, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import ValidationError

from model_zoo.cards.card import Batching, Card
from model_zoo.cards.signature import Signature
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import FILE, IMAGE_SETTINGS, Given
from model_zoo.references.onnx.facts import OnnxFacts
from model_zoo.references.onnx.image_card import TASK as IMAGE_TASK
from model_zoo.references.onnx.image_card import as_image_classifier, plan_image
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
from service.references.footprint import Footprint, Room, check_room
from service.references.onnx.agreement import agreed, with_photos
from service.references.onnx.file_process import read_facts, tried_out
from service.references.onnx.located import LocatedFile, located
from service.references.publishing import Pulled, Say, pinned, publish_card
from service.runtime.onnx_session import OnnxRuntime
from service.tasks.table import task_for

ROOM = 1.1
"""Free space that a pull needs, as a multiple of the files."""


def pull_onnx(
    reference: Reference,
    store: Store,
    home: Path,
    name: str,
    given: Given,
    *,
    offline: bool,
    room: Room = Room(),  # noqa: B008 - frozen
    progress: Progress | None,
    say: Say,
) -> Pulled:
    """Makes an ONNX file a model of this home. Raises as `pull_reference`."""
    _check(reference.shown, given)
    with located(reference, home, given, offline=offline, progress=progress) as file:
        return _pulled(reference, file, store, home, name, given, room, progress, say)


def _pulled(
    reference: Reference,
    file: LocatedFile,
    store: Store,
    home: Path,
    name: str,
    given: Given,
    room: Room,
    progress: Progress | None,
    say: Say,
) -> Pulled:
    shown = file.shown
    facts = read_facts(shown, file.file)
    stored_bytes = _check_room(shown, file.file, facts, home, room)
    image = plan_image(shown, facts, given) if given.task == IMAGE_TASK else None
    facts = facts if image is None else image.facts
    others = (*(IMAGE_SETTINGS if image else ()), *((FILE,) if file.source["kind"] == "hub" else ()))
    plan = plan_inputs(shown, facts, given, others)
    say(f"{name}: a network with {facts.parameters:,} numbers; it is tried out")
    trial, because = tried_out(
        shown,
        file.file,
        plan.specs,
        plan.recipe,
        together=not plan.single_rows_because,
        stored_bytes=stored_bytes,
    )
    outputs = output_specs(facts, [{key: array.shape for key, array in row.items()} for row in trial])
    external = {other: pinned(file.root, file.beside(other)) for other in facts.external}
    files = {"weights": pinned(file.root, file.path)}
    files |= {f"weights_{i}": one for i, one in enumerate(external.values(), 2)}
    fields = tensors_fields(shown, facts, plan, file.licence) | {
        "name": name,
        "reference": str(reference),
        "source": {**file.source, "files": {role: one.model_dump() for role, one in files.items()}},
        # A part of what decides compiled code, which the digest of the graph alone does not.
        "architecture": {
            "builder": "onnx",
            "arguments": {"opset": facts.opset} | {f"sha256 of {key}": one.sha256 for key, one in external.items()},
        },
        "signature": Signature(inputs=plan.specs, outputs=outputs).model_dump(),
        "batching": _batching(plan, because).model_dump(),
    }
    if image is not None:
        _check_classes(shown, len(image.labels), outputs[0].shape)
        fields |= {"labels": "labels.txt", "class_names": image.labels}
    try:
        card = Card.model_validate(fields)
    except ValidationError as error:
        field = ".".join(str(step) for step in error.errors()[0]["loc"])
        raise NotDerivable(shown, f"the file makes no valid card: {field}: {error.errors()[0]['msg']}") from error
    try:
        made = store.materialise(card, progress)
        say(f"{name}: its served answers are compared with those of the graph as it is written")
        session = OnnxRuntime(made.weights, "cpu", 1)
        card = agreed(card, shown, task_for(card, made), session, trial)
        if image is not None:
            card = as_image_classifier(card, image)
            card = with_photos(card, shown, lambda checked: task_for(checked, made), session)
        publish_card(card, home)
    except BaseException:
        store.remove(card)
        raise
    return Pulled(card, made, False)


def _check(shown: str, given: Given) -> None:
    if given.task not in ("", TASK, IMAGE_TASK):
        raise NotDerivable(
            shown,
            f"nothing says how the input of {given.task[:80]} becomes its tensors; expected {TASK} or {IMAGE_TASK}",
        )
    if given.labels and given.task != IMAGE_TASK:
        raise NotDerivable(shown, "a model of tensors has no labels")


def _check_room(shown: str, path: Path, facts: OnnxFacts, home: Path, room: Room) -> int:
    """Bytes of all files of the network. Raises NotDerivable with the figures where they do not fit on the disk or in memory."""
    stored = path.stat().st_size + sum((path.parent / name).stat().st_size for name in facts.external)
    needed = Footprint(fetched=stored, pull_disk=int(ROOM * stored), disk=stored, pull_memory=2 * stored, memory=stored)
    home.mkdir(parents=True, exist_ok=True)
    check_room(shown, needed, shutil.disk_usage(home).free, room)
    room.limit(needed)
    return stored


def _check_classes(shown: str, named: int, shape: tuple[int, ...]) -> None:
    if shape != (-1, named):
        raise NotDerivable(shown, f"its output has the axes {list(shape)}, but {named:,} classes are named")


def _batching(plan: InputPlan, because: str) -> Batching:
    reason = plan.single_rows_because or because
    rows = 1 if reason else plan.max_batch_size
    mask = "" if reason else plan.recipe.mask
    return Batching(
        max_batch_size=rows,
        cpu_batch_size=min(rows, GAINFUL_ROWS),
        length_of=mask or None,
        max_length=plan.recipe.max_length if mask else None,
        single_rows_because=reason,
    )
