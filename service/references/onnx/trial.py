"""The first runs of an unknown network: seeded inputs, each alone and all together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.golden.seeded_tensors import seeded_tensors
from model_zoo.references.onnx.facts import Unusable
from service.rounding import format_against
from service.runtime.onnx_session import OnnxRuntime
from service.types import Array, Tensors

SEEDS = (0, 1, 2)
SHARE = 2e-4
"""Greatest difference of outputs that count as equal, as a share of the largest one."""
SHARE_FP16 = 5e-3
"""The same for a network with outputs of half precision, which has 11 bits."""
LEAST = 1e-6


class TrialRequest(BaseModel):
    """A file and the rows that callers would send."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    inputs: tuple[TensorSpec, ...]
    recipe: TensorsRecipe
    together: bool
    """Whether rows may share a batch, by the file."""
    results: str
    """Path of the file for the outputs."""


def try_out(request: TrialRequest) -> tuple[list[dict[str, Array]], str]:
    """The outputs for each seed, by the graph as it is written; and why rows cannot share a batch, empty where they can.

    Outputs have the rows axis. Raises Unusable where the network does not run, or gives what cannot be served.
    """
    path = Path(request.path)
    written = _session(path, optimised=False)
    rows = [seeded_tensors(request.inputs, request.recipe, seed) for seed in SEEDS]
    outputs = []
    for row in rows:
        found = _run(written, [row])
        for name, array in found.items():
            if not array.ndim or len(array) != 1:
                shape = list(array.shape)
                raise Unusable(f"for one row its output {name!r} has the shape {shape}; the first axis must count rows")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise Unusable(f"its output {name!r} is not finite for numbers between 0 and 1")
        outputs.append(found)
    del written
    if not request.together:
        return outputs, ""
    return outputs, _single_rows_because(_session(path, optimised=True), rows, request.recipe)


def allowed_difference(outputs: Sequence[Tensors]) -> float:
    """The greatest absolute difference of outputs that count as equal to these."""
    arrays = [array for row in outputs for array in row.values() if array.size]
    largest = max((float(np.abs(array.astype(np.float64)).max()) for array in arrays), default=0.0)
    half = any(array.dtype == np.float16 for array in arrays)
    return max((SHARE_FP16 if half else SHARE) * largest, LEAST)


def largest_difference(ours: Tensors, theirs: Tensors) -> float:
    """Of two rows of outputs; infinity where a shape differs."""
    worst = 0.0
    for name, expected in theirs.items():
        if ours[name].shape != expected.shape:
            return float("inf")
        difference = np.abs(ours[name].astype(np.float64) - expected.astype(np.float64))
        worst = max(worst, float(difference.max(initial=0.0)))
    return worst


def _single_rows_because(session: OnnxRuntime, rows: Sequence[Tensors], recipe: TensorsRecipe) -> str:
    alone = [_run(session, [row]) for row in rows]
    allowed = allowed_difference(alone)
    for numbers in (range(len(rows)), (0, len(rows) - 1)):
        try:
            together = _run(session, _padded([rows[i] for i in numbers], recipe))
        except Unusable:
            return "the network does not run with several rows"
        for name, array in together.items():
            if not array.ndim or len(array) != len(numbers):
                got = len(array) if array.ndim else 0
                return f"for {len(numbers)} rows its output {name!r} has {got}"
        worst = max(largest_difference(_row(together, at, alone[i], recipe), alone[i]) for at, i in enumerate(numbers))
        if not worst <= allowed:
            shown, most = format_against(worst, allowed)
            return f"an answer in a batch of {len(numbers)} differs by {shown} from the one alone; allowed is {most}"
    return ""


def _padded(rows: Sequence[Tensors], recipe: TensorsRecipe) -> list[Tensors]:
    """Rows as long as the longest of them, with zeros at the end."""
    if not recipe.mask:
        return list(rows)
    longest = max(len(row[recipe.mask]) for row in rows)

    def padded(array: Array) -> Array:
        return np.concatenate([array, np.zeros((longest - len(array), *array.shape[1:]), array.dtype)])

    return [{name: padded(array) if name in recipe.axes else array for name, array in row.items()} for row in rows]


def _row(together: Tensors, at: int, alone: Tensors, recipe: TensorsRecipe) -> Tensors:
    """A row of a batch, without what padding added."""
    return {
        name: array[at : at + 1, : alone[name].shape[1]] if name in recipe.cut else array[at : at + 1]
        for name, array in together.items()
    }


def _session(path: Path, *, optimised: bool) -> OnnxRuntime:
    try:
        return OnnxRuntime(path, "cpu", 1, optimised=optimised)
    except MemoryError:
        raise
    except Exception as error:
        raise Unusable("ONNX Runtime cannot load it") from error


def _run(session: OnnxRuntime, rows: Sequence[Tensors]) -> dict[str, Array]:
    try:
        return session.run({name: np.stack([row[name] for row in rows]) for name in rows[0]})
    except MemoryError:
        raise
    except Exception as error:
        raise Unusable("ONNX Runtime cannot run it") from error
