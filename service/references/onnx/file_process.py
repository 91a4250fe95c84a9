"""Has an unknown ONNX file read and tried out in a process of its own, with limits on its memory and time."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from model_zoo import strict_json
from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.errors import NotDerivable, StoreUnusable
from model_zoo.references.onnx.facts import OnnxFacts
from service.references.library_process import reply_of
from service.references.onnx.file_worker import WorkerRequest
from service.references.onnx.trial import SEEDS, TrialRequest
from service.types import Array

WORKER = (sys.executable, "-P", "-m", "service.references.onnx.file_worker")

READ_S, READ_BYTES, READ_TIMES = 120, 1 << 30, 6
"""To read a file: seconds, memory, and further memory as a multiple of the file."""
TRIAL_S, TRIAL_BYTES, TRIAL_TIMES = 600, 4 << 30, 8
"""To try a network out."""


def read_facts(shown: str, path: Path) -> OnnxFacts:
    """The facts of a file. Raises NotDerivable; `shown` is the reference, for messages."""
    limit = READ_BYTES + READ_TIMES * path.stat().st_size
    reply = _ask(shown, WorkerRequest(memory_bytes=limit, seconds=READ_S, read=str(path)))
    return strict_json.validated(OnnxFacts, reply["facts"])


def tried_out(
    shown: str, path: Path, inputs: Sequence[TensorSpec], recipe: TensorsRecipe, *, together: bool, stored_bytes: int
) -> tuple[list[dict[str, Array]], str]:
    """The outputs of the seeded inputs, with their rows axis; and why rows cannot share a batch, empty where they can.

    Args:
        together: whether they may, by the file.
        stored_bytes: of all files of the network.

    Raises NotDerivable, StoreUnusable.
    """
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        results = Path(folder) / "outputs.safetensors"
        request = WorkerRequest(
            memory_bytes=TRIAL_BYTES + TRIAL_TIMES * stored_bytes,
            seconds=TRIAL_S,
            trial=TrialRequest(
                path=str(path), inputs=tuple(inputs), recipe=recipe, together=together, results=str(results)
            ),
        )
        because = str(_ask(shown, request)["single_rows_because"])
        found = {key: array.copy() for key, array in load_file(results).items()}
    rows: list[dict[str, Array]] = [{} for _ in SEEDS]
    for key, array in found.items():
        number, _, name = key.partition(".")
        rows[int(number)][name] = array
    return rows, because


def _ask(shown: str, request: WorkerRequest) -> dict[str, Any]:
    reply = reply_of(WORKER, strict_json.text(request).encode(), float(request.seconds))
    if reply is None:
        memory = request.memory_bytes / 1e9
        reason = (
            f"the process that reads it ended: it needs more than {request.seconds} s or {memory:.1f} GB, or is damaged"
        )
        raise NotDerivable(shown, reason)
    if "not_written" in reply:
        raise StoreUnusable(str(reply["not_written"]), "the folder for temporary files")
    if "reason" in reply:
        raise NotDerivable(shown, str(reply["reason"]))
    return reply
