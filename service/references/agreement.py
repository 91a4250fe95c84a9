"""Zoo's answers beside those of the makers' library, and the golden cases that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model_zoo.cards.card import Card, Verification
from model_zoo.errors import NotEqual
from model_zoo.golden.golden_case import GoldenCase, GoldenInput
from service.references.comparison.compared import ComparedAnswers, Unlike
from service.references.comparison.table import COMPARISONS
from service.rounding import format_against
from service.tasks.base import Task
from service.types import Item, Tensors

LONGEST_GOLDEN_TEXT = 200
"""Characters; a card is read by people."""
OUTPUT_TOLERANCE = 2e-4
"""`max_abs_error` of the card, as a share of the largest output that was seen."""


def zoo_items(task: Task, inputs: Sequence[GoldenInput], shown: str) -> list[Item]:
    """The inputs, preprocessed. `shown`: the reference, for messages. Raises NotEqual where Zoo refuses an input."""
    items = []
    for one in inputs:
        (item,) = task.preprocess([task.golden_instance(one)], ["input"])
        if not isinstance(item, Item):
            raise NotEqual(shown, f"Zoo refuses {_shown(one)}: {item}")
        items.append(item)
    return items


def agreed(
    task: Task,
    shown: str,
    library: str,
    inputs: Sequence[GoldenInput],
    items: Sequence[Item],
    ours: Sequence[Tensors],
    theirs: Sequence[Any],
) -> Card:
    """The task's card with its verification, golden cases and tolerance.

    Args:
        shown: the reference, for messages.
        library: its name and version.
        items: the inputs, preprocessed.
        ours: Zoo's outputs for each of them.
        theirs: the library's answer to each of them.

    Raises NotEqual with the figures, where an answer of ours differs from the library's by more than the bound.
    """
    card, comparison = task.card, COMPARISONS[task.card.task]
    worst, cases = 0.0, []
    for one, item, row, answer in zip(inputs, items, ours, theirs, strict=True):
        compared = ComparedAnswers(card, task, item, row, answer)
        try:
            difference = comparison.difference(compared)
        except Unlike as unlike:
            raise NotEqual(shown, f"for {_shown(one)} {unlike}") from None
        if not difference <= comparison.bound:
            got, most = format_against(difference, comparison.bound)
            raise NotEqual(shown, f"for {_shown(one)} by up to {got}; allowed is {most}")
        worst = max(worst, difference)
        if len((one.text or "") + (one.text_pair or "")) <= LONGEST_GOLDEN_TEXT:
            cases.append(GoldenCase(input=one, expect=comparison.expectation(compared)))
    output = next(spec.name for spec in card.signature.outputs if spec.datatype == "FP32")
    largest = max(float(np.abs(row[output]).max(initial=0.0)) for row in ours)
    return card.model_copy(
        update={
            "golden": tuple(cases),
            "verification": Verification(
                library=library, inputs=len(inputs), max_difference=worst, bound=comparison.bound
            ),
            "tolerance": card.tolerance.model_copy(update={"max_abs_error": max(OUTPUT_TOLERANCE * largest, 1e-6)}),
        }
    )


def _shown(one: GoldenInput) -> str:
    if one.file is not None:
        return f"the {'recording' if one.file.endswith('.flac') else 'photo'} {one.file}"
    if one.noise is not None:
        return f"noise of {one.noise.seconds:g} s"
    text, kind = one.text or "", "text" if one.text_pair is None else "pair that begins with the text"
    return f"the {kind} {text[:40]!r}" + (f" … of {len(text):,} characters" if len(text) > 40 else "")
