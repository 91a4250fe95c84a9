"""The disk and memory that a network will need, predicted from its repository's metadata before its weights are fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_zoo.cards.card import Card
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan
from model_zoo.references.repository import ListedFile
from model_zoo.references.weight_files import INDEX

FP32_BYTES = 4
"""Of a parameter, on disk and in memory: networks are kept and loaded in fp32."""

MOST_PARAMETERS_A_BYTE = 2
"""A configuration that describes a larger network than its files hold would make the library allocate it."""


@dataclass(frozen=True)
class Footprint:
    """Bytes. Buffers of a network and the libraries in memory are not counted."""

    fetched: int
    """All files of the repository that are read."""
    pull_disk: int
    """On disk while it is pulled: the files, a second copy while they are converted, and the result."""
    disk: int
    """On disk afterwards."""
    pull_memory: int
    """In memory while it is converted: the network, and beside it the file of its weights, unless a library maps that file."""
    memory: int
    """In memory while it serves in fp32, without what a batch takes."""


@dataclass(frozen=True)
class Room:
    """What a pull may use.

    Attributes:
        memory: bytes that this machine or container has.
        budget: bytes of memory that the settings allow to all models together; 0 for no limit.
        limit: called with the prediction before anything is fetched; may bound the memory of this process.
    """

    memory: int = 1 << 62
    budget: int = 0
    limit: Callable[[Footprint], None] = lambda needed: None


def footprint(plan: CardPlan, files: Mapping[str, ListedFile]) -> Footprint:
    """The prediction for a repository whose files are `files`, by path."""
    weights = FP32_BYTES * int(plan.fields["parameters"])
    fetched = sum(files[path].size for path in plan.paths)
    mapped = _is_mapped(dict(plan.fields["weights"]).get("mapping"), plan.fields["architecture"]["builder"])
    companions = sum(files[path].size for role, path in plan.roles.items() if not role.startswith("weights"))
    return Footprint(
        fetched=fetched,
        pull_disk=2 * fetched + weights,
        disk=weights + companions,
        pull_memory=weights + (0 if mapped else files[plan.roles["weights"]].size),
        memory=weights,
    )


def footprint_of_card(card: Card) -> Footprint:
    """The prediction for a card whose files are not here."""
    weights, files = FP32_BYTES * card.parameters, card.source.files
    fetched = sum(file.bytes for file in files.values())
    companions = sum(file.bytes for role, file in files.items() if not role.startswith("weights"))
    return Footprint(
        fetched=fetched,
        pull_disk=2 * fetched + weights,
        disk=weights + companions,
        pull_memory=weights
        + (0 if _is_mapped(card.weights.mapping, card.architecture.builder) else files["weights"].bytes),
        memory=weights,
    )


def _is_mapped(mapping: str | None, builder: str) -> bool:
    """Whether a library maps the file of the weights into memory. torchvision reads it, from a checkpoint of torch."""
    return mapping == "library" and builder != "torchvision"


def check_size(shown: str, plan: CardPlan, files: Mapping[str, ListedFile]) -> None:
    """Raises NotDerivable where the configuration describes a much larger network than the files hold."""
    stored = sum(files[path].size for role, path in plan.roles.items() if role.startswith("weights") and role != INDEX)
    if plan.fields["parameters"] > MOST_PARAMETERS_A_BYTE * stored:
        figures = f"{plan.fields['parameters']:,} parameters, but its weights have {stored:,} bytes"
        raise NotDerivable(shown, f"by its config.json it has {figures}")


def check_room(shown: str, needed: Footprint, free_disk: int, room: Room) -> None:
    """Raises NotDerivable with the figures where a network does not fit.

    Args:
        shown: the repository, for messages.
        free_disk: free bytes of the disk of the home.
    """
    if needed.pull_disk > free_disk:
        figures = f"it needs {_gb(needed.pull_disk)} of disk while it is pulled, and {_gb(free_disk)} are free"
        raise NotDerivable(shown, figures)
    if needed.pull_memory > room.memory:
        figures = f"it needs {_gb(needed.pull_memory)} of memory while it is pulled, and there are {_gb(room.memory)}"
        raise NotDerivable(shown, figures)
    if room.budget and needed.memory > room.budget:
        figures = f"it needs {_gb(needed.memory)} of memory, and ZOO_MEMORY_BUDGET_MIB allows {_gb(room.budget)}"
        raise NotDerivable(shown, figures)


def megabytes(size: int) -> str:
    """A size for people, in MB of a million bytes."""
    return f"{size / 1e6:,.1f} MB"


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
