"""What a comparison of two answers gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import Expectation
from service.tasks.base import Task
from service.types import Item, Tensors


@dataclass(frozen=True)
class ComparedAnswers:
    """One input that both have answered."""

    card: Card
    task: Task
    item: Item
    """The input, preprocessed by Zoo."""
    row: Tensors
    """Outputs of Zoo's network."""
    answer: Any
    """The library's answer, of the kind that `library_answers` gives for the task; not yet looked at."""


class Unlike(Exception):
    """The answers have no distance: they are of different kinds or sizes. The message says so in a phrase."""


@dataclass(frozen=True)
class AnswerComparison:
    """How the answers of a task are compared."""

    bound: float
    """The greatest difference that is allowed."""
    difference: Callable[[ComparedAnswers], float]
    """Of a probability, of a value of an embedding of length 1, or the like. Raises Unlike."""
    expectation: Callable[[ComparedAnswers], Expectation]
    """Of the golden case of this input."""
