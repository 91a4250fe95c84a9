"""A recipe, run: its data are fetched, the network is trained, and what comes of it is compared with the card."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from model_zoo.cards.card import Card, Figure
from model_zoo.errors import SourceUnavailable, StoreUnusable
from model_zoo.locking import exclusive_lock
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.debian import debian_package
from model_zoo.sources.digest import sha256_of_bytes
from model_zoo.training_recipes.determinism import repeatable
from model_zoo.training_recipes.recipe import DataPackage, Recipe, Report, Trained
from model_zoo.training_recipes.steps import EnoughSteps, Step, StepRecorder

__all__ = ["FOLDER", "Remade", "data_files", "differences", "first_steps", "packed", "remake", "write"]

FOLDER = "trained"
"""Of the package ``model_zoo``, where the files lie that ship with Zoo."""


@dataclass(frozen=True)
class Remade:
    """The results of a recipe."""

    files: Mapping[str, bytes]
    """By name: the weights first."""
    figures: tuple[Figure, ...]
    facts: Mapping[str, Any]
    """Fields of the card that the data decide."""

    @property
    def sha256(self) -> str:
        """Of the weights, lower-case hex."""
        return sha256_of_bytes(next(iter(self.files.values())))


def remake(
    recipe: Recipe,
    home: Path,
    report: Report,
    *,
    table: bytes | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Remade:
    """Trains the network of a recipe. Its data are kept in the folder ``downloads`` of the home.

    Args:
        table: a CSV to learn from in place of the package, for a recipe with ``columns``.

    Raises:
        SourceUnavailable, DigestMismatch: the data cannot be fetched, or are other ones.
        StoreUnusable: the home cannot be written.
        UnusableTable: the CSV cannot be learned from.
    """
    contents = _contents(recipe, home, table, offline, progress)
    with repeatable():
        return packed(recipe, recipe.train(contents, report))


def first_steps(
    recipe: Recipe,
    home: Path,
    steps: int,
    report: Callable[[Step], None],
    *,
    table: bytes | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> None:
    """Begins the training of a recipe with ``observed``, reports its first steps, and ends it. Arguments and errors are
    those of ``remake``."""
    assert recipe.observed is not None
    contents = _contents(recipe, home, table, offline, progress)
    with repeatable(), suppress(EnoughSteps):
        recipe.observed(contents, StepRecorder(steps, report))


def _contents(
    recipe: Recipe, home: Path, table: bytes | None, offline: bool, progress: Progress | None
) -> dict[str, bytes]:
    if table is not None:
        return {"table": table}
    return data_files(recipe.data, home, offline=offline, progress=progress)


def packed(recipe: Recipe, trained: Trained) -> Remade:
    """A trained network as files."""
    state = {name: tensor.detach().contiguous() for name, tensor in trained.state.items()}
    # One key of metadata only: the order of several is not fixed, and equal weights must have an equal digest.
    weights = save(state, metadata={"format": "pt"})
    return Remade({f"{recipe.name}.safetensors": weights, **trained.companions}, trained.figures, trained.facts)


def write(made: Remade, folder: Path) -> None:
    """Writes the files of a network into a folder, which is made if it is absent. Raises StoreUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in made.files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise StoreUnusable(error.strerror or type(error).__name__) from error


def differences(made: Remade, card: Card) -> list[str]:
    """Differences from the card, a line each; none for the network that the card describes."""
    found = []
    stated = {file.path: file for file in card.source.files.values()}
    for name, content in made.files.items():
        file = stated.get(f"{FOLDER}/{name}")
        if file is None:
            found.append(f"the card has no file {name}")
        elif file.sha256 != (got := sha256_of_bytes(content)):
            found.append(f"{name} has sha256 {got}, and the card says {file.sha256}")
    document = card.model_dump(mode="json")
    for path, value in {**made.facts, "figures": [figure.model_dump() for figure in made.figures]}.items():
        if not _equal(document, path.split("."), value):
            found.append(f"the card says otherwise of {path}")
    return found


def data_files(
    data: DataPackage, home: Path, *, offline: bool = False, progress: Progress | None = None
) -> dict[str, bytes]:
    """The files of a package of data, by role; see ``remake`` for errors."""
    downloads = home / "downloads"
    if offline and not (downloads / data.artifact).is_file():
        raise SourceUnavailable(data.artifact, "it is not on this machine, and ZOO_OFFLINE forbids a fetch")
    source = debian_package(data)
    try:
        with exclusive_lock(downloads / f".{source.key}.lock"):
            artifact = source.fetch(downloads, progress)
            return {role: source.read(artifact, file) for role, file in data.files.items()}
    except OSError as error:
        raise StoreUnusable(error.strerror or type(error).__name__) from error


def _equal(document: Any, path: list[str], value: Any) -> bool:
    for step in path:
        if not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return bool(document == value)
