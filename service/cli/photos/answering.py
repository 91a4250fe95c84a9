"""One model's answers about many photos, by the bulk stream of the SDK. What was answered is kept, however the stream ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.photos.answers import Question
from service.cli.photos.errors import NoDirection, PhotosError
from service.cli.photos.photo_index import PhotoIndex
from service.cli.photos.photo_reader import PhotoReader, ReadPhoto
from service.cli.photos.scan import Photo

if TYPE_CHECKING:
    from service.client import Client, Outcome

COMMIT_EVERY = 64
"""Photos between two commits: so much is asked again after a power cut."""
REFUSED = "INVALID_ARGUMENT"
"""The code of a photo that the server cannot read; any other failure may pass, so the photo is asked about again."""
_TOO_LARGE = "larger than max"
"""In the message of a stream that ends with a photo above the limit of the server."""
_PHOTO = "instances["
"""How the field of such an error begins. An error of another field is about the call."""


@dataclass(slots=True)
class Answered:
    """What became of the photos of one question."""

    sent: int = 0
    """Photos that the server answered, or refused to read."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Names and reasons of photos that the server cannot read. They are not sent again while they stay as they are."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Names and reasons of photos that have no answer for now."""


def answer_photos(
    client: Client,
    index: PhotoIndex,
    folder: Path,
    asked: Question,
    photos: Sequence[Photo],
    *,
    most_bytes: int,
    advance: Callable[[], None],
) -> Answered:
    """Reads `photos`, asks about those whose digest has no answer, and keeps all that it learns.

    `advance` is called once for each photo, from any thread. Raises ZooClientError if the stream breaks, PhotosError for answers
    of another kind.
    """
    from service.client import Overloaded

    reader = PhotoReader(photos, index.answered(asked.purpose), most_bytes, advance)
    keeper = _Keeper(client, index, folder, asked)
    stream: Iterator[Outcome] = client.stream_predict(asked.model.name, reader.values(), **asked.call)
    try:
        with closing(stream):  # type: ignore[type-var]  # it is a generator
            for outcome in stream:
                while (read := _must(reader.next_read())).data is None:
                    keeper.keep(read)
                keeper.keep(read, outcome)
                advance()
    except Overloaded as error:
        if _TOO_LARGE not in error.message:
            raise
        raise PhotosError(f"{error}; --max-size leaves out larger files") from None
    finally:
        reader.close()
        while (rest := reader.next_read()) is not None:  # read, and without an answer after Ctrl-C or a lost server
            keeper.keep(rest)
        index.commit()
    return keeper.answered


def _must(read: ReadPhoto | None) -> ReadPhoto:
    if read is None:
        raise PhotosError("the server answered about a photo that was not sent")
    return read


class _Keeper:
    """Writes photos and answers into the index."""

    def __init__(self, client: Client, index: PhotoIndex, folder: Path, asked: Question) -> None:
        self.answered = Answered()
        self._client = client
        self._index = index
        self._folder = folder
        self._asked = asked
        self._kept = 0

    def keep(self, read: ReadPhoto, outcome: Outcome | None = None) -> None:
        """Keeps a photo, and the outcome of its call if there was one."""
        if read.problem:
            self._index.forget([read.photo.name])  # what was known of it may be wrong now
            self.answered.failed.append((read.photo.name, read.problem))
            return
        self._index.add_photo(self._folder, read.photo, read.digest)
        if outcome is not None:
            self._keep_outcome(read, outcome)
        self._kept += 1
        if not self._kept % COMMIT_EVERY:
            self._index.commit()

    def _keep_outcome(self, read: ReadPhoto, outcome: Outcome) -> None:
        from service.cli.rate_limits import once_permitted
        from service.cli.rendering.predictions import error_text
        from service.client import PredictionError

        asked, name = self._asked, read.photo.name
        outcome = once_permitted(self._client, asked.model.name, read.data, outcome, asked.call)
        if isinstance(outcome, PredictionError):
            if outcome.code == REFUSED and outcome.field.startswith(_PHOTO):
                self._refuse(read, error_text(outcome))
            else:
                self.answered.failed.append((name, error_text(outcome)))
            return
        if asked.model.version and outcome.version != asked.model.version:
            raise PhotosError(f"version {outcome.version} of {asked.model.name} answered; index again")
        try:
            self._index.add_answer(asked.purpose, read.digest, asked.encode(outcome))
        except NoDirection as error:
            self._refuse(read, str(error))
        else:
            self.answered.sent += 1

    def _refuse(self, read: ReadPhoto, problem: str) -> None:
        self._index.add_answer(self._asked.purpose, read.digest, b"", problem)
        self.answered.refused.append((read.photo.name, problem))
        self.answered.sent += 1
