"""Inputs of a model by which its network is quantised, and others by which it is judged then.

Both are examples of real data. Golden inputs alone would be too few: networks that were quantised by them passed the check on
them, and answered real inputs wrongly (a least cosine of 0.67 with `all_minilm_l6_v2`). They are added to the real ones, since
some have extreme lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.errors import ZooModelError
from model_zoo.versions import Versions
from service.engine.check_record import CheckRecord
from service.tasks.base import Task
from service.types import Array, Item
from service.verification.held_out_trial import example_count, items_beside

CALIBRATING, JUDGING = 128, 64
"""Examples at most. Ranges settle well before so many."""
FEWEST = 24
"""Examples in all; with fewer, the network is not quantised."""


@dataclass(frozen=True, slots=True)
class RealInputs:
    """Examples of the data that a model is used for; empty where there are too few."""

    calibrating: tuple[Item, ...] = ()
    """They give the ranges of activations."""
    judging: tuple[Item, ...] = ()
    """The others, by which the quantised network is compared with fp32."""

    def batches(self, task: Task, golden: Sequence[Item] = ()) -> list[dict[str, Array]]:
        """The calibrating examples and the golden inputs as batches of one row each; none where there are no examples."""
        return [task.collate([item])[0] for item in (*golden, *self.calibrating)] if self.calibrating else []


def real_inputs(task: Task, record: CheckRecord, versions: Versions | None) -> RealInputs:
    """Those of a fine-tuned version are from its data, without the held-out examples; those of a model of the zoo are from the
    largest data set of the versions that were tuned from it. Deterministic. Reads files: not on the event loop."""
    records = [record] if record.version is not None else [*_tuned_from(task.card, versions)]
    for one in sorted(records, key=example_count, reverse=True):
        items = items_beside(one, task, CALIBRATING + JUDGING)
        if len(items) >= FEWEST:
            calibrating = tuple(item for n, item in enumerate(items) if n % 3 != 1)
            return RealInputs(calibrating, tuple(items[1::3]))
    return RealInputs()


def _tuned_from(card: Card, versions: Versions | None) -> Iterator[CheckRecord]:
    """The records of the versions that were tuned from a model of the zoo."""
    if versions is None:
        return
    for name in versions.models():
        for number in reversed(versions.numbers(name)):
            try:
                version = versions.open(name, number)
            except ZooModelError:  # deleted meanwhile, or damaged
                continue
            source = version.card.source
            if isinstance(source, TunedSource) and source.base == card.name:
                yield CheckRecord(version)
