"""One file at an address, of the web or of a bucket, fetched with resume and checked by its digest.

``ZOO_TORCHVISION_URL`` is a mirror of ``https://download.pytorch.org``, where torchvision keeps its weights. Cards name the
original, so that they are equal with and without a mirror.
"""

import os
import shutil
from pathlib import Path

from model_zoo.cards.web_address import address_problem, file_name_of, is_object
from model_zoo.cards.weight_source import SourceFile, UrlSource
from model_zoo.errors import SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import sha256_of_file
from model_zoo.sources.download import ExpectedFile, download, remote_size
from model_zoo.sources.folder_files import read_from_folder

__all__ = ["MIRROR", "TORCHVISION_HOST", "UrlFile", "fetch_url", "size_at", "url_folder"]

MIRROR = "ZOO_TORCHVISION_URL"
TORCHVISION_HOST = "https://download.pytorch.org/"
_DIGITS = 8
"""Of the sha256, in the name of a folder. The file name of a network of torchvision has no more."""


class UrlFile:
    """The ``ArtifactSource`` of a card whose weights are one file of the web. The artifact is a folder with that file."""

    def __init__(self, source: UrlSource) -> None:
        self._url, self._file = source.url, source.files["weights"]

    @property
    def key(self) -> str:
        """See ArtifactSource."""
        return url_folder(self._url, self._file.sha256)

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """See ArtifactSource."""
        folder, file = downloads / self.key, self._file
        fetch_url(self._url, folder, ExpectedFile(file.path, file.bytes, file.sha256), progress)
        return folder

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource."""
        return read_from_folder(artifact, file)

    def discard(self, artifact: Path) -> None:
        """Removes the folder."""
        shutil.rmtree(artifact, ignore_errors=True)


def url_folder(url: str, sha256: str) -> str:
    """Name of the folder for the file at an address. ``sha256``: whole, or its first eight digits or more."""
    return f"url-{sha256[:_DIGITS]}-{file_name_of(url)}"


def fetch_url(url: str, folder: Path, expected: ExpectedFile, progress: Progress | None = None) -> None:
    """The file at an address, below a folder under its expected name; nothing is fetched where it is there already.

    Raises:
        SourceUnavailable: the server does not answer, or does not give the file.
        DigestMismatch: it gives another one.
    """
    target = folder / expected.name
    if target.is_file() and target.stat().st_size == expected.size:
        if sha256_of_file(target).startswith(expected.sha256):
            return
        target.unlink()
    if is_object(url):
        from model_zoo.sources.bucket import fetch_object

        fetch_object(url, target, expected, progress)
    else:
        download(_from_mirror(url), target, expected, progress, secure=True)


def size_at(url: str, name: str) -> int:
    """Bytes of the file at an address, as its server states them. Raises SourceUnavailable; ``name`` is for messages."""
    if is_object(url):
        from model_zoo.sources.bucket import object_size

        return object_size(url, name)
    return remote_size(_from_mirror(url), name)


def _from_mirror(url: str) -> str:
    mirror = os.environ.get(MIRROR, "")
    if not mirror or not url.startswith(TORCHVISION_HOST):
        return url
    found = f"{mirror.rstrip('/')}/{url.removeprefix(TORCHVISION_HOST)}"
    problem = "expected https://HOST/PATH, not an object" if is_object(found) else address_problem(found)
    if problem:
        raise SourceUnavailable(file_name_of(url), f"{MIRROR} cannot be used: {problem}")
    return found
