"""The files of a card on this machine."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Materialised", "label_lines"]


@dataclass(frozen=True)
class Materialised:
    """A card whose files are on this machine.

    Attributes:
        folder: holds all of the files; read-only by convention.
        weights: ``model.safetensors``.
        files: the others by role, such as ``tokenizer`` and ``labels``.
        digest: sha256 of the weights, lower-case hex. In the store the name of the folder begins with it.
    """

    folder: Path
    weights: Path
    files: dict[str, Path]
    digest: str


def label_lines(names: Iterable[str]) -> bytes:
    """The content of the file of a card's labels: a name a line, in the order of the logits."""
    return "".join(f"{name}\n" for name in names).encode()
