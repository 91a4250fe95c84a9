"""The plan of a card: all that a repository says about a network, before its weights are fetched."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import SourceFile
from model_zoo.errors import NotDerivable

__all__ = [
    "FILE",
    "IMAGE_SETTINGS",
    "MAX_TOKENS",
    "SETTINGS",
    "TASKS",
    "TENSOR_SETTINGS",
    "CardPlan",
    "Given",
    "check_class_names",
    "check_settings",
    "check_task",
    "settings_of",
]

Library = Literal["timm", "torchvision", "transformers", "sentence-transformers"]

TASKS = (
    "audio-classification",
    "automatic-speech-recognition",
    "feature-extraction",
    "fill-mask",
    "image-classification",
    "image-feature-extraction",
    "image-segmentation",
    "object-detection",
    "text-classification",
    "text-generation",
    "text-ranking",
    "text2text-generation",
    "token-classification",
    "zero-shot-classification",
    "zero-shot-image-classification",
)
"""Tasks of the networks that can be pulled by reference: those of all planners. They are listed here as well, so that a command
can tell them without importing a library of models."""

MAX_TOKENS = "max_tokens"
"""The longest text in tokens."""
FILE = "file"
"""Names one of several ONNX files of a repository."""
TENSOR_SETTINGS = ("max_batch_size", "max_length")
"""Of an ONNX file: rows of a batch, and the greatest size of an axis that varies."""
IMAGE_SETTINGS = ("size", "resize_shorter", "interpolation", "mean", "std")
"""Of an ONNX file that classifies images: together they say how an image becomes the input."""

_BY_KIND = {
    "hf": (MAX_TOKENS,),
    "local": (MAX_TOKENS,),
    "onnx": (*TENSOR_SETTINGS, *IMAGE_SETTINGS, FILE),
}
SETTINGS = tuple(dict.fromkeys(name for names in _BY_KIND.values() for name in names))
"""Names of all settings, each once."""


def check_task(task: str, reference: str) -> None:
    """Raises NotDerivable for a task that no network can be pulled for; `reference` is for its message."""
    if task in TASKS:
        return
    near = difflib.get_close_matches(task, TASKS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(TASKS)}"
    raise NotDerivable(reference, f"Zoo does not have the task {task!r}{hint}")


def settings_of(kind: str) -> tuple[str, ...]:
    """Names of the settings that a reference of a kind may have; none for timm and torchvision, whose files say all."""
    return _BY_KIND.get(kind, ())


def check_settings(shown: str, kind: str, settings: Mapping[str, str]) -> None:
    """Raises NotDerivable for a setting that no network of this kind of reference has; `shown` is for its message."""
    known = settings_of(kind)
    for name in settings:
        if name not in known:
            expected = f"expected {' or '.join(known)}" if known else "its files say all"
            raise NotDerivable(shown, f"--set {name[:40]} has no meaning for it; {expected}")


LONGEST_CLASS_NAME = 1000
"""Characters, as many as a candidate label of a call may have."""


def check_class_names(names: Sequence[str], reference: str) -> None:
    """Raises NotDerivable for a name that is no line of text, with its number; `reference` is for the message."""
    for number, name in enumerate(names):
        if fault := _fault_of(name):
            raise NotDerivable(reference, f"the name of class {number} {fault}", "--labels FILE")


def _fault_of(name: str) -> str:
    if not name.strip():
        return "is blank"
    if len(name) > LONGEST_CLASS_NAME:
        return f"has {len(name):,} characters; expected at most {LONGEST_CLASS_NAME:,}"
    if "\n" in name:
        return f"has several lines: {name[:50]!r}"
    try:
        name.encode()  # JSON can hold halves of characters
    except UnicodeEncodeError:
        return f"is no text: {name[:50]!r}"
    return ""


@dataclass(frozen=True)
class Given:
    """Facts that a user states beside the reference, where a repository does not state them."""

    task: str = ""
    """Hugging Face task id."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of the logits."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """By their names, which `settings_of` lists."""
    asked: list[NotDerivable] = field(default_factory=list, compare=False, repr=False)
    """What a user has to state, found while a card is planned."""

    def ask(self, question: NotDerivable) -> None:
        """Notes what a user has to state. The caller goes on with a stand-in, so that all problems of a repository are found;
        no card is made of it."""
        self.asked.append(question)


@dataclass(frozen=True)
class CardPlan:
    """A card without its source.

    Attributes:
        library: the makers' library, whose answers Zoo's are compared with.
        fields: of the card.
        roles: paths of the files that the library reads, by role; ``weights`` is one of them.
        extra: paths of files that only the makers' own preprocessing reads.
        notes: what a user should know of the network as Zoo serves it, a phrase each.
    """

    library: Library
    fields: Mapping[str, Any]
    roles: Mapping[str, str]
    extra: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All files to fetch."""
        return tuple(dict.fromkeys([*self.roles.values(), *self.extra]))

    def card(self, source: Mapping[str, Any], files: Mapping[str, SourceFile]) -> Card:
        """The card, with the fields of its source and its files by role."""
        document = {name: file.model_dump() for name, file in files.items()}
        return Card.model_validate({**self.fields, "source": {**source, "files": document}})
