"""The two halves of a composed task: an input codec reads raw instances, an answer codec writes answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import ZooError
from service.tasks.masked_sequence import MaskedSequence
from service.types import Answer, Instance, Item, Options, Tensors


class InputCodec(Protocol):
    """Turns raw instances into rows of tensors. Holds no state that a request could change."""

    raw_types: ClassVar[tuple[type, ...]]
    """Kinds of raw instance that it accepts."""
    chunk: ClassVar[int]
    """Raw instances that one call of `preprocess` should get: more where they are cheap together."""

    def __init__(self, card: Card, files: Mapping[str, Path]) -> None:
        """Raises TypeError for a card with another kind of recipe."""

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """See `Task.preprocess`."""

    def golden_instance(self, given: GoldenInput) -> Instance:
        """See `Task.golden_instance`."""


class SequenceCodec(InputCodec, Protocol):
    """An input codec for sequences of different lengths."""

    sequence: MaskedSequence
    """Checks and pads the sequences."""


@runtime_checkable
class SeveralRows(Protocol):
    """An answer codec for instances that make several rows."""

    def expand(self, instance: Instance, options: Options, path: str) -> Sequence[Instance] | Instance | None:
        """See `Task.expand`."""

    def join(self, rows: Tensors, options: Options) -> Answer:
        """See `Task.join`."""


class AnswerCodec(Protocol):
    """Turns a row of outputs into an answer. Holds no state that a request could change."""

    options: ClassVar[frozenset[str]]
    """Fields of Options that have a meaning for it."""
    light_rows: ClassVar[int]
    """See `Task.light_rows`."""

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        """`labels`: class names in the order of the logits."""

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """See `Task.postprocess`."""

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """See `Task.golden_texts`."""

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `Task.golden_problem`."""
