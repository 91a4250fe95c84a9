"""Tasks that combine an input codec with an answer codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.classification import LabelAnswers
from service.tasks.codecs import AnswerCodec, InputCodec, SequenceCodec, SeveralRows
from service.tasks.occlusion import Attributable, Occludable
from service.types import Answer, Array, Instance, Item, Options, TensorInstance, Tensors

ATTRIBUTE, NONE = frozenset({"attribute"}), frozenset[str]()


def attributable(inputs: InputCodec, answers: AnswerCodec) -> Attributable | None:
    """What attributions need, where inputs have parts and answers are of classes."""
    if isinstance(inputs, Occludable) and isinstance(answers, LabelAnswers):
        return Attributable(inputs, answers)
    return None


class ComposedTask(Task):
    """A task whose rows all have the same shape."""

    def __init__(
        self,
        inputs: type[InputCodec],
        answers: type[AnswerCodec],
        card: Card,
        labels: Sequence[str] = (),
        files: Mapping[str, Path] = NO_FILES,
    ) -> None:
        """Builds both codecs for `card`."""
        super().__init__(card, labels, files)
        self.inputs, self.answers = inputs(card, files), answers(card, self.labels)
        self.raw_types, self.chunk = self.inputs.raw_types, self.inputs.chunk
        self.options, self.light_rows = self.answers.options, self.answers.light_rows
        self.attributable = attributable(self.inputs, self.answers)
        self.options |= ATTRIBUTE if self.attributable else NONE

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """As the input codec reads them."""
        return self.inputs.preprocess(instances, paths)

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """As the answer codec writes it."""
        return self.answers.postprocess(row, item, options)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """See `InputCodec`."""
        return self.inputs.golden_instance(given)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """See `AnswerCodec`."""
        return self.answers.golden_texts(expect)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `AnswerCodec`."""
        return self.answers.golden_problem(expect, answer, answer_of)


class SequenceTask(Task):
    """A task whose rows are sequences of different lengths, batched under a mask."""

    def __init__(
        self,
        inputs: type[SequenceCodec],
        answers: type[AnswerCodec],
        card: Card,
        labels: Sequence[str] = (),
        files: Mapping[str, Path] = NO_FILES,
    ) -> None:
        """Builds both codecs for `card`."""
        super().__init__(card, labels, files)
        self.inputs, self.answers = inputs(card, files), answers(card, self.labels)
        self.raw_types, self.chunk = self.inputs.raw_types, self.inputs.chunk
        self.options, self.light_rows = self.answers.options, self.answers.light_rows
        self.attributable = attributable(self.inputs, self.answers)
        self.options |= ATTRIBUTE if self.attributable else NONE
        self._several = self.answers if isinstance(self.answers, SeveralRows) else None
        self.expands = self._several is not None

    def expand(self, instance: Instance, options: Options, path: str) -> Sequence[Instance] | Instance | None:
        """As the answer codec does, if it joins several rows."""
        return None if self._several is None else self._several.expand(instance, options, path)

    def join(self, rows: Tensors, options: Options) -> Answer:
        """As the answer codec does, if it joins several rows."""
        return super().join(rows, options) if self._several is None else self._several.join(rows, options)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """As the input codec reads them."""
        return self.inputs.preprocess(instances, paths)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task and those of a masked sequence."""
        item = super().row(instance, path)
        self.inputs.sequence.check(instance, path)
        return item

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest, …]`, padded under a mask of zeros; at least `least_length` long."""
        return self.inputs.sequence.collate(items, least_length)

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """A batch's outputs → rows. Outputs with a variable axis lose the values of the padding."""
        rows = super().split(outputs, items)
        varying = [spec.name for spec in self.card.signature.outputs if spec.shape[1:2] == (-1,)]
        if not varying:
            return rows
        length = self.inputs.sequence.output_length
        return [
            {name: array[: length(item)] if name in varying else array for name, array in row.items()}
            for row, item in zip(rows, items, strict=True)
        ]

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """As the answer codec writes it."""
        return self.answers.postprocess(row, item, options)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """See `InputCodec`."""
        return self.inputs.golden_instance(given)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """See `AnswerCodec`."""
        return self.answers.golden_texts(expect)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `AnswerCodec`."""
        return self.answers.golden_problem(expect, answer, answer_of)
