"""A recipe, and its results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from model_zoo.cards.card import Figure
from model_zoo.cards.weight_source import SourceFile
from model_zoo.training_recipes.steps import StepRecorder

__all__ = ["DataPackage", "Recipe", "Report", "Trained"]

Report = Callable[[str], None]
"""Called with a line on the progress of a training."""


@dataclass(frozen=True)
class DataPackage:
    """A package of Debian with data, and the files of it that a recipe reads, by role."""

    package: str
    version: str
    artifact: str
    """Name of the archive, as `apt-get download` calls it."""
    artifact_sha256: str
    artifact_bytes: int
    files: Mapping[str, SourceFile]


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    state: Mapping[str, Tensor]
    """State dict of the backbone."""
    figures: tuple[Figure, ...]
    companions: Mapping[str, bytes] = field(default_factory=dict)
    """Other files that ship with the weights: name → content."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the card that the data decide, such as the scales of columns, by dotted path."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    name: str
    """Of its card."""
    data: DataPackage
    train: Callable[[Mapping[str, bytes], Report], Trained]
    """Files by role → network. Seeds its own generators; runs in one thread, with deterministic algorithms."""
    seconds: int
    """How long it takes on one core, about."""
    columns: Sequence[str] = ()
    """Inputs of a CSV that may take the place of the package, as the file of the role ``table``. Empty: none may."""
    target: str = ""
    """The column of that CSV with what is to be predicted."""
    observed: Callable[[Mapping[str, bytes], StepRecorder], None] | None = None
    """Begins the same training, whose steps are recorded; None for one without steps, or with too many numbers to print."""
