"""The inputs that check a network before it serves: the golden inputs and variations of them, alone and in padded batches.

The reference is the network's answer to each of them alone, in fp32 and eager torch, at load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe, VolumeRecipe
from model_zoo.cards.signature import RANKED_IDS
from service.errors import InternalError
from service.rounding import format_against
from service.tasks.base import Task
from service.types import Array, Item, Tensors
from service.verification.query_matching import in_one_order

LENGTHS = (1 / 8, 1 / 2, 3, 8)
"""Lengths of further inputs, as multiples of the first golden one's; lengths 1 and 2 are added."""
UNDECIDED = 0.05
"""Difference of logits. Classes whose reference logits differ by less, odds of 1.05 to 1, are equally right: rounding decides."""
_ROUNDING = 1e-9
NEGLIGIBLE = 1e-3
"""No cosine is computed of rows whose outputs are all smaller than this: rounding alone changes their direction."""


class Runs(Protocol):
    """A runtime that can be probed."""

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch; see `NetworkRuntime`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How close outputs are to the reference."""

    max_error: float
    """Largest absolute difference."""
    cosine: float
    """The least of all rows."""
    top1_agreement: float | None
    """Share of decisions that are the same; None for a model that decides nothing."""


def probe_items(task: Task, golden: Sequence[Item] = ()) -> list[Item]:
    """The golden inputs of a model, and cuts, repetitions or mirror images of them; deterministic.

    `golden`: the items of a tuned version, whose card has none.
    """
    items = [*golden] or _golden_items(task)
    batching = task.card.batching
    if batching.max_length is not None:
        first = items[0].length
        least, most = batching.min_length, batching.max_length
        lengths = {max(least, min(n, most)) for n in (1, 2, *(max(1, int(first * times)) for times in LENGTHS))}
        return [*items, *(_of_length(task.card, items[0], n) for n in sorted(lengths))]
    if isinstance(task.card.recipe, VolumeRecipe):  # seconds of a CPU each, and a batch has one row
        return items
    return [*items, *(_mirrored(item) for item in items), *(_shifted(item) for item in items)]


def _golden_items(task: Task) -> list[Item]:
    instances = [task.golden_instance(case.input) for case in task.card.golden]
    instances += [task.text_instance(text) for case in task.card.golden for text in task.golden_texts(case.expect)]
    items: list[Item] = []
    for outcome in task.preprocess(instances, ["golden"] * len(instances)):
        if not isinstance(outcome, Item):
            raise InternalError from outcome
        items.append(outcome)
    return items


def alone(task: Task, runtime: Runs, items: Sequence[Item]) -> list[Tensors]:
    """The answers of a network to every item alone."""
    return [_rows(task, runtime, [item])[0] for item in items]


def batched(
    task: Task, runtime: Runs, items: Sequence[Item], sizes: Sequence[int]
) -> Iterator[list[tuple[int, Tensors]]]:
    """The answers of a network to items in batches of these sizes, as far as the card allows them, long items beside short ones;
    each answer with the number of its item."""
    count = len(items)
    stride = next(n for n in range(5, 2 * count + 6) if math.gcd(n, count) == 1)  # neighbours in the list are similar
    for size in sorted({*sizes}):
        if not 1 < size <= task.card.batching.max_batch_size:
            continue
        for start in range(0, count, max(size, -(-count // 2))):  # at most two batches of a size
            numbers = [(start + i * stride) % count for i in range(size)]
            yield list(zip(numbers, _rows(task, runtime, [items[n] for n in numbers]), strict=True))


def invariance_problem(task: Task, runtime: Runs, reference: Sequence[Tensors], items: Sequence[Item]) -> str | None:
    """The problem, with the figure, if an answer depends on the other rows of its batch; None if none does.

    `reference` holds the answers of the same runtime to each item alone.
    """
    allowed = task.card.tolerance.max_abs_error
    rows = min(len(items), task.card.batching.max_batch_size)
    for batch in batched(task, runtime, items, [rows]):
        worst = max(_error(*in_one_order(task.card, row, reference[number])) for number, row in batch)
        if not worst <= allowed:
            shown, most = format_against(worst, allowed)
            return f"an answer in a batch of {len(batch)} differs by {shown} from the one alone; allowed is {most}"
    return None


def compare(task: Task, runtime: Runs, reference: Sequence[Tensors], items: Sequence[Item], rows: int) -> Comparison:
    """Runs every item, alone and in batches of up to `rows`, and compares the answers with the reference."""
    answers = list(enumerate(alone(task, runtime, items)))
    for batch in batched(task, runtime, items, [2, 3, rows]):
        answers += batch
    return closeness(task.card, answers, reference)


def closeness(card: Card, answers: Sequence[tuple[int, Tensors]], reference: Sequence[Tensors]) -> Comparison:
    """How close answers are to the reference; each comes with the number of its reference row."""
    pairs = [in_one_order(card, row, reference[number]) for number, row in answers]
    error = max(_error(row, expected) for row, expected in pairs)
    cosine = min(_cosine(row, expected) for row, expected in pairs)
    return Comparison(error, cosine, _agreement(card, answers, reference))


def closeness_problem(card: Card, precision: str, found: Comparison) -> str | None:
    """The threshold of the card that is missed, with the figures; None if none is."""
    tolerance = card.tolerance
    reduced = precision != "fp32"
    bounds = {"fp32": tolerance.compiled, "int8": tolerance.int8}.get(precision, tolerance.reduced_precision)
    most = bounds.max_abs_error if reduced or bounds.max_abs_error is not None else tolerance.max_abs_error
    if most is not None and not found.max_error <= most:
        shown, allowed = format_against(found.max_error, most)
        return f"outputs differ by {shown} from the reference; allowed is {allowed}"
    if not found.cosine >= bounds.min_cosine:
        shown, wanted = format_against(found.cosine, bounds.min_cosine, ".5f", "g")
        return f"the cosine to the reference is {shown}; expected at least {wanted}"
    if found.top1_agreement is not None and not 1.0 - found.top1_agreement <= bounds.max_flips + _ROUNDING:
        shown, allowed = format_against(1.0 - found.top1_agreement, bounds.max_flips, ".1%")
        return f"{shown} of decisions differ from those of the reference; at most {allowed} may"
    if not np.isfinite(found.max_error):
        return "outputs are not finite"
    return None


# ── variations and differences ────────────────────────────────────────────────────────────────────────────────────────


def _rows(task: Task, runtime: Runs, items: Sequence[Item]) -> list[Tensors]:
    rows: dict[int, Tensors] = {}
    for group in task.groups(items):
        some = [items[i] for i in group]
        rows |= zip(group, task.split(runtime.run(task.collate(some)[0]), some), strict=True)
    return [rows[i] for i in range(len(items))]


def _of_length(card: Card, item: Item, length: int) -> Item:
    """An item cut or repeated along its variable axis."""
    varies = {spec.name for spec in card.signature.inputs if spec.shape[1:2] == (-1,)}
    tensors = {n: np.resize(a, (length, *a.shape[1:])) if n in varies else a for n, a in item.tensors.items()}
    return Item(tensors, length)


def _mirrored(item: Item) -> Item:
    return Item({n: np.ascontiguousarray(a[..., ::-1]) if a.ndim > 2 else a for n, a in item.tensors.items()})


def _shifted(item: Item) -> Item:
    return Item({n: np.roll(a, a.shape[-1] // 7, -1) if a.ndim > 2 else a for n, a in item.tensors.items()})


def _error(row: Tensors, reference: Tensors) -> float:
    """Largest absolute difference; infinity where shapes differ or a number is NaN."""
    worst = 0.0
    for name, expected in reference.items():
        if row[name].shape != expected.shape:
            return float("inf")
        if name == RANKED_IDS:  # neighbours may have changed places: `_agreement` compares the first ones
            continue
        with np.errstate(invalid="ignore"):  # infinity less infinity
            difference = np.abs(row[name].astype(np.float64) - expected.astype(np.float64))
        most = float(difference.max(initial=0.0))
        worst = float("inf") if np.isnan(most) else max(worst, most)
    return worst


def _cosine(row: Tensors, reference: Tensors) -> float:
    """Least cosine similarity of the floating outputs."""
    least = 1.0
    for name, expected in reference.items():
        if expected.dtype.kind != "f":
            continue
        a, b = (np.asarray(x, np.float64).ravel() for x in (row[name], expected))
        if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            return -1.0
        if max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)) < NEGLIGIBLE:
            continue
        least = min(least, float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30)))
    return least


def _agreement(card: Card, answers: Sequence[tuple[int, Tensors]], reference: Sequence[Tensors]) -> float | None:
    same, total = 0, 0
    for number, row in answers:
        expected, got = _decisions(card, reference[number]), _decisions(card, row)
        total += expected.size
        if expected.shape != got.shape:
            continue
        agrees = expected == got
        if RANKED_IDS in row:
            agrees |= _nearly_first(card, reference[number], got)
        elif got.size and not isinstance(card.recipe, AudioRecipe):
            scores = np.atleast_2d(_first(card, reference[number]))
            chosen = np.take_along_axis(scores, got.reshape(-1, 1), -1).reshape(got.shape)
            agrees |= chosen >= scores.max(-1).reshape(got.shape) - UNDECIDED
        same += int(agrees.sum())
    return same / total if total else None


def _nearly_first(card: Card, reference: Tensors, got: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each id of `got` is among those of the reference whose score rounding could have put first."""
    scores, ids = _first(card, reference), reference[RANKED_IDS]
    near = scores >= scores[..., :1] * np.exp(-UNDECIDED)
    return np.asarray(((ids == got[..., None]) & near).any(axis=-1))


def _first(card: Card, row: Tensors) -> NDArray[np.float64]:
    first = np.asarray(row[card.signature.outputs[0].name], np.float64)
    # Of a segmentation the classes come first, then the pixels, each of which is a decision.
    return np.moveaxis(first, 0, -1).reshape(-1, len(first)) if card.task == "image-segmentation" else first


def _decisions(card: Card, row: Tensors) -> NDArray[np.int64]:
    """The decisions of a row: its first class or likeliest next token, or for each frame whether there is speech; empty for a
    model that decides nothing."""
    first = _first(card, row)
    if isinstance(card.recipe, AudioRecipe):
        return (first >= card.recipe.threshold).astype(np.int64)
    if RANKED_IDS in row:
        return np.asarray(row[RANKED_IDS][..., 0], np.int64)
    if card.task.endswith("-classification") or card.task in ("text-generation", "image-segmentation"):
        return np.atleast_1d(np.argmax(first, -1))
    return np.zeros(0, np.int64)
