"""Task `zero-shot-classification`: a text and labels that no network was trained on → the labels by probability.

A network for natural language inference reads the text with a sentence about each label, and says whether the sentence follows
from the text (Yin, Hay and Roth 2019, arXiv:1909.00161). Probabilities are those of the pipeline of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import Expectation
from service.errors import InvalidInput
from service.tasks.classification import LabelAnswers
from service.tasks.text.pairs import longest_text_checked
from service.types import (
    Answer,
    Classification,
    Instance,
    Item,
    Label,
    Options,
    Tensors,
    TextInstance,
    TextPairInstance,
)

TEMPLATE = "This example is {}."
"""The default hypothesis of the pipeline; a label takes the place of the braces."""


class ZeroShotAnswers:
    """Candidate labels, best first; of a pair of texts the network's own classes (protocols `AnswerCodec`, `SeveralRows`)."""

    options: ClassVar[frozenset[str]] = frozenset(
        {"top_k", "threshold", "candidate_labels", "hypothesis_template", "multi_label"}
    )
    light_rows: ClassVar[int] = 16

    def __init__(self, card: Card, labels: Sequence[str]) -> None:
        self._classes = LabelAnswers(card, labels)
        self._output = card.signature.outputs[0].name
        self._entailment = entailment(labels)

    def expand(self, instance: Instance, options: Options, path: str) -> Sequence[Instance] | None:
        """A row for each candidate label; None for a premise with its hypothesis as a pair, or tensors."""
        if not isinstance(instance, TextInstance):
            return None
        if not options.candidate_labels:
            raise InvalidInput(
                "options.candidate_labels",
                "is required: the labels to choose from; or send a text_pair with a hypothesis",
            )
        longest_text_checked(instance.data, f"{path}.text")
        template = TEMPLATE if options.hypothesis_template is None else options.hypothesis_template
        hypotheses = _hypotheses(template, tuple(options.candidate_labels))
        text = f"{path}.text"
        return [
            TextPairInstance(instance.data, hypothesis, (text, f"options.candidate_labels[{i}]"))
            for i, hypothesis in enumerate(hypotheses)
        ]

    def join(self, rows: Tensors, options: Options) -> Answer:
        """`[labels, classes]` logits → labels, best first. The probabilities add up to 1, unless each label is decided alone:
        then entailment is weighed against contradiction."""
        assert options.candidate_labels is not None
        names = options.candidate_labels
        logits = np.asarray(rows[self._output], np.float64)
        if options.multi_label or len(names) == 1:
            contradiction = -1 if self._entailment == 0 else 0
            scores = _softmax(logits[:, [contradiction, self._entailment]])[:, 1]
        else:
            scores = _softmax(logits[:, self._entailment])
        order = np.argsort(-scores, kind="stable")[: options.top_k].tolist()
        least = options.threshold or 0.0
        return Classification(tuple(Label(i, names[i], float(scores[i])) for i in order if not scores[i] < least))

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Classification:
        """The network's own classes for one pair."""
        return self._classes.postprocess(row, item, options)

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """None."""
        return ()

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `LabelAnswers`."""
        return self._classes.golden_problem(expect, answer, answer_of)


@lru_cache(maxsize=8)
def _hypotheses(template: str, labels: tuple[str, ...]) -> tuple[bytes, ...]:
    """The sentences about the labels, which the texts of a request share."""
    return tuple(template.replace("{}", label).encode() for label in labels)


def entailment(labels: Sequence[str]) -> int:
    """The class of a hypothesis that follows from the text. Raises StopIteration where no class is called so."""
    return next(i for i, name in enumerate(labels) if name.lower().startswith("entail"))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
