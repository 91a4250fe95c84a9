"""Brings the index of a folder up to date: what has to be asked about which photo, and what leaves the index."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.photos.answering import Answered, answer_photos
from service.cli.photos.answers import Question, question
from service.cli.photos.errors import PhotosError
from service.cli.photos.index_model import Purpose, model_for
from service.cli.photos.photo_index import KnownPhoto, PhotoIndex
from service.cli.photos.scan import Photo, Scan, scan_folder

if TYPE_CHECKING:
    from service.client import Client

DEFAULTS = {Purpose.LABELS: "efficientnet_lite0", Purpose.LIKENESS: "mobilenetv2_100"}
"""Models of an index that names none. One that is not served is left out, labels only where another model is named."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Of a purpose and a number of photos: a context with what is called for each photo that is done."""


@dataclass(slots=True)
class IndexReport:
    """What an indexer did, and what the index holds now."""

    photos: int = 0
    """Photos in the folder."""
    new: int = 0
    """Names that the index did not have."""
    changed: int = 0
    removed: int = 0
    sent: dict[Purpose, int] = field(default_factory=dict)
    """Calls about photos."""
    answered: dict[Purpose, int] = field(default_factory=dict)
    """Photos of the index with an answer."""
    models: dict[Purpose, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was left out, in sentences."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Names and reasons of photos that the server cannot read, those of earlier runs too."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Names and reasons of photos that should be asked about again."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    other_kinds: dict[str, int] = field(default_factory=dict)


def update_index(
    client: Client,
    index: PhotoIndex,
    folder: Path,
    names: dict[Purpose, str],
    *,
    most_bytes: int,
    progress: Progress,
) -> IndexReport:
    """Asks about what is new, changed, or answered by another model; forgets what is gone.

    Args:
        names: models by purpose; one that is absent or empty is that of the index, or else the default.

    Raises:
        PhotosError: a named model is of another task or does not serve.
        ZooClientError: the server cannot be asked. What it answered is kept.
    """
    report = IndexReport()
    questions = _questions(client, index, names, report.notes)
    scan = scan_folder(folder, most_bytes)
    for asked in questions:
        if index.use_model(asked.purpose, asked.model):
            report.notes.append(f"{asked.purpose}: the model has changed, so every photo is asked about again")
    _compare(index, scan, report)
    for asked in questions:
        failed = {name for name, _ in report.failed}
        photos = [photo for photo in _unanswered(index, asked.purpose, scan) if photo.name not in failed]
        done = Answered()
        if photos:
            with progress(asked.purpose, len(photos)) as advance:
                done = answer_photos(client, index, folder, asked, photos, most_bytes=most_bytes, advance=advance)
        report.failed += done.failed
        report.sent[asked.purpose] = done.sent
        report.models[asked.purpose] = f"{asked.model.name}, version {asked.model.version}"
    index.prune()
    index.commit()
    for purpose in Purpose:
        if index.model(purpose) is not None:
            report.answered[purpose] = index.count(purpose)
    report.unreadable = index.problems()
    report.left_out = [(entry.name, entry.reason) for entry in scan.left_out]
    report.other_kinds = dict(scan.other_kinds or {})
    return report


def _questions(client: Client, index: PhotoIndex, names: dict[Purpose, str], notes: list[str]) -> list[Question]:
    """The questions about each photo. Adds a note for each that is left out."""
    questions = []
    for purpose in Purpose:
        named = names.get(purpose, "")
        kept = index.model(purpose)
        name = named or (kept.name if kept else DEFAULTS.get(purpose, ""))
        if not name:
            continue
        try:
            questions.append(_question(client, purpose, name))
        except PhotosError as error:
            if named or (purpose is Purpose.LABELS and not any(names.values())):
                raise
            notes.append(f"{purpose}: left out, since {error}")
    return questions


def _question(client: Client, purpose: Purpose, name: str) -> Question:
    from service.client import NotFound

    try:
        return question(purpose, model_for(purpose, client.model(name)))
    except NotFound as error:
        raise PhotosError(str(error)) from None


def _compare(index: PhotoIndex, scan: Scan, report: IndexReport) -> None:
    """Counts what is new and changed, and forgets what is gone."""
    known = index.known()
    present = {photo.name: photo for photo in scan.photos}
    gone = [name for name in known if name not in present and not scan.may_hold(name)]
    index.forget(gone)
    index.commit()
    report.photos, report.removed = len(present), len(gone)
    report.new = sum(name not in known for name in present)
    report.changed = sum(name in known and not known[name].is_unchanged(photo) for name, photo in present.items())


def _unanswered(index: PhotoIndex, purpose: Purpose, scan: Scan) -> list[Photo]:
    """The photos that must be read: those that are not known as they are now, and those without an answer."""
    known, answered = index.known(), index.answered(purpose)
    return [photo for photo in scan.photos if _is_open(photo, known.get(photo.name), answered)]


def _is_open(photo: Photo, known: KnownPhoto | None, answered: set[bytes]) -> bool:
    return known is None or not known.is_unchanged(photo) or known.digest not in answered
