"""From a reference to a model that is served: derived, fetched, pinned, converted, compared with its makers' library, and kept.

    ZOO_HOME/cards/<name>.yaml     the card: written last, so that a model exists once all of it is there

A card pins the commit and the digests of all files. Pulling the same reference again uses the card, whatever the hub has now.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model_zoo.cards.card import Card
from model_zoo.catalog import CARDS
from model_zoo.errors import NotDerivable, SourceUnavailable, StoreUnusable
from model_zoo.locking import passing_lock, shared_lock
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from model_zoo.references.card_plan import CardPlan, Given, check_settings
from model_zoo.references.derive import derive
from model_zoo.references.reference import Reference
from model_zoo.references.transformers.vision.image_text import AUTO_CLASS
from model_zoo.references.transformers.vision.image_text import TASK as IMAGE_TEXT
from model_zoo.sources.artifact_source import Progress
from model_zoo.store import Store
from service.references.agreement import agreed, zoo_items
from service.references.comparison.pictures import check_pictures
from service.references.footprint import Room, check_room, check_size, footprint, megabytes
from service.references.library_answers import library_version
from service.references.library_process import library_answers
from service.references.library_request import LibraryRequest
from service.references.onnx.pull import pull_onnx
from service.references.places import AdaptedPlace, Place, place_of
from service.references.publishing import Pulled, Say, known_card, model_name, pinned, publish_card
from service.references.verification_inputs import verification_inputs
from service.runtime.network import NetworkRuntime
from service.settings import HOME_LOCK
from service.tasks.table import task_for
from service.verification.probes import alone, invariance_problem

Ask = Callable[[str, LibraryRequest], Sequence[Any]]
"""As `library_answers`."""


@dataclass(frozen=True)
class _Request:
    """A pull as it was asked for."""

    reference: Reference
    home: Path
    name: str
    given: Given
    offline: bool
    room: Room
    progress: Progress | None
    say: Say
    ask: Ask | None


def pull_reference(
    reference: Reference,
    home: Path,
    *,
    name: str = "",
    given: Given = Given(),  # noqa: B008 - frozen
    offline: bool = False,
    room: Room = Room(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    say: Say = lambda line: None,
    ask: Ask | None = None,
) -> Pulled:
    """Makes a referenced network a model of this home. Blocks; may take minutes. Of two callers the second waits.

    Args:
        name: of the model; by default that of the repository.
        offline: whether nothing may be fetched.
        say: called with a line for the user before each step that takes long.
        ask: asks the makers' library; None for a process of its own, which is started when it is asked.

    Raises:
        InvalidName: the name is none.
        NotDerivable, SourceUnavailable, DigestMismatch, ConversionFailed, NotEqual, StoreUnusable: see `model_zoo.errors`.
    """
    name = model_name(reference, name)
    try:
        with shared_lock(home / HOME_LOCK), passing_lock(home / CARDS / f".{name}.lock"):
            return _pull(_Request(reference, home, name, given, offline, room, progress, say, ask))
    except OSError as error:
        raise StoreUnusable(error.strerror or type(error).__name__) from error


def _pull(asked: _Request) -> Pulled:
    reference, home, name = asked.reference, asked.home, asked.name
    check_settings(reference.shown, reference.kind, asked.given.settings)
    store = Store(home, keep_downloads=True)
    known = known_card(reference, home, name)
    if known is not None:
        if asked.given != Given():
            change = "remove its card from the folder cards of ZOO_HOME to pull it in another way"
            raise NotDerivable(reference.shown, f"it was pulled before, as {name}; {change}")
        found = store.find(known)
        if found is None and asked.offline:
            raise SourceUnavailable(
                reference.shown, "its files are not on this machine, and ZOO_OFFLINE forbids a fetch"
            )
        return Pulled(known, found or Store(home).materialise(known, asked.progress), found is not None)
    if reference.kind == "onnx":
        return pull_onnx(
            reference,
            store,
            home,
            name,
            asked.given,
            offline=asked.offline,
            room=asked.room,
            progress=asked.progress,
            say=asked.say,
        )
    place = place_of(reference, home, offline=asked.offline)
    plan = _planned(place, asked)
    if reference.kind == "timm" and plan.library != "timm":
        raise NotDerivable(reference.shown, f"{place.repository.name} is a network of {plan.library}, not of timm")
    place.fetch(plan.paths, asked.progress)
    try:
        return _converted(plan, place, store, asked)
    finally:
        place.discard()


def _converted(plan: CardPlan, place: Place, store: Store, asked: _Request) -> Pulled:
    """Converts, verifies and publishes; what was converted is removed where it is not right."""
    files = {role: pinned(*place.path(path)).model_copy(update={"path": path}) for role, path in plan.roles.items()}
    name, say = asked.name, asked.say
    card = plan.card(place.source, files).model_copy(update={"name": name, "reference": str(asked.reference)})
    say(f"{name}: a network for {card.task} with {card.parameters:,} parameters; its weights are converted")
    try:
        made = store.materialise(card, asked.progress)
        say(f"{name}: its answers are compared with those of {plan.library}")
        card = _verified(card, made, plan, place, asked.ask or library_answers)
        publish_card(card, asked.home)
    except BaseException:
        store.remove(card)
        raise
    return Pulled(card, made, False)


def _planned(place: Place, asked: _Request) -> CardPlan:
    """The plan of a repository whose files are all there, and fit on the disk and in memory. Raises NotDerivable with the
    figures."""
    repository = place.repository
    plan = derive(repository, asked.given)
    if isinstance(place, AdaptedPlace):
        plan = place.adapted.planned(plan)
    missing = [path for path in plan.paths if path not in repository.files]
    if missing:
        raise NotDerivable(repository.name, f"it lacks {missing[0]}")
    check_size(repository.name, plan, repository.files)
    needed = footprint(plan, repository.files)
    asked.home.mkdir(parents=True, exist_ok=True)
    check_room(repository.name, needed, shutil.disk_usage(asked.home).free, asked.room)
    sizes = (
        f"{megabytes(needed.fetched)} to read, {megabytes(needed.disk)} on disk, {megabytes(needed.memory)} in memory"
    )
    asked.say(f"{asked.name}: {sizes}")
    for note in plan.notes:
        asked.say(f"{asked.name}: {note}")
    asked.room.limit(needed)
    return plan


def _part(card: Card) -> Literal["", "image", "text"]:
    """The encoder of a network for images and texts that a card serves alone."""
    if card.task == IMAGE_TEXT or card.architecture.arguments.get("auto_class") != AUTO_CLASS:
        return ""
    return "image" if card.raw_input == "image" else "text"


def _verified(card: Card, files: Materialised, plan: CardPlan, place: Place, ask: Ask) -> Card:
    recipe, shown = card.recipe, place.repository.name
    inputs = verification_inputs(
        card.raw_input, card.task, getattr(recipe, "pairs", False), getattr(recipe, "mask_token", "")
    )
    request = LibraryRequest(
        library=plan.library,
        folder=str(place.folder),
        published=place.repository.name.removeprefix("torchvision:") if plan.library == "torchvision" else "",
        adapter=str(place.adapter_folder) if place.adapter_folder else None,
        labels=card.class_names,
        task=card.task,
        part=_part(card),
        max_tokens=getattr(getattr(recipe, "text", recipe), "max_tokens", None),
        generation=card.architecture.arguments.get("generation"),
        first_timestamp=getattr(getattr(card.recipe, "windows", None), "first_timestamp", None),
        inputs=tuple(inputs),
        pictures=card.raw_input == "image",
    )
    found = ask(shown, request)
    theirs, prepared = found[: len(inputs)], found[len(inputs) :]
    task, runtime = task_for(card, files), NetworkRuntime(load_network(card, files), "cpu")
    if request.pictures:
        check_pictures(task, inputs[0], shown, prepared)
    items = zoo_items(task, inputs, shown)
    ours = alone(task, runtime, items)
    card = agreed(task, shown, library_version(plan.library), inputs, items, ours, theirs)
    try:
        # As every server checks it when it loads the model: the library may answer single rows alone.
        problem = invariance_problem(task_for(card, files), runtime, ours, items)
    except Exception as error:
        raise NotDerivable(shown, "its network cannot run several rows together") from error
    if problem is not None:
        raise NotDerivable(shown, f"its answers depend on the other rows of a batch: {problem}")
    return card
