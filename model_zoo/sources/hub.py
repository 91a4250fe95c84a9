"""Repositories of a model hub, through the library huggingface_hub.

Endpoint, token, proxy and offline mode are the library's own settings (``HF_ENDPOINT``, ``HF_TOKEN`` or its token file,
``HF_HUB_OFFLINE``). Files are fetched at one commit, never at a branch, so that a branch that moves changes nothing.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import errors as hub

from model_zoo.cards.weight_source import HubSource, SourceFile
from model_zoo.errors import SourceNotFound, SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.folder_files import read_from_folder

__all__ = ["HubRepositoryFiles", "fetch_file", "fetch_start", "hub_endpoint", "hub_errors", "snapshot_folder"]

_TIMEOUT_S = 60.0
"""Without a single byte."""
_LONGEST_START_S = 300.0
"""For the start of a file, which is small."""


class HubRepositoryFiles:
    """The ``ArtifactSource`` of a model that was pulled from a hub."""

    def __init__(self, source: HubSource) -> None:
        self._source = source

    @property
    def key(self) -> str:
        """See ArtifactSource."""
        return snapshot_folder(self._source.repository, self._source.commit)

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """A folder below ``downloads`` with the files on the card. Files that are there are used, partial ones resumed.

        Raises:
            SourceUnavailable: the hub does not answer, or does not give a file.
        """
        source, folder = self._source, downloads / self.key
        total, done = sum(file.bytes for file in source.files.values()), 0
        for file in source.files.values():
            if not _has(folder / file.path, file.bytes):
                fetch_file(source.repository, source.commit, file.path, folder)
            done += file.bytes
            if progress is not None:
                progress(done, total, source.repository)
        return folder

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource."""
        return read_from_folder(artifact, file)

    def discard(self, artifact: Path) -> None:
        """Removes the folder."""
        shutil.rmtree(artifact, ignore_errors=True)


def snapshot_folder(repository: str, commit: str) -> str:
    """Name of the folder for the files of a repository at a commit."""
    return f"{repository.replace('/', '--')}-{commit[:12]}"


def fetch_file(repository: str, commit: str, path: str, folder: Path) -> Path:
    """One file of a repository, below a folder. Raises SourceUnavailable."""
    with hub_errors(f"{path} of hf:{repository}"):
        found = huggingface_hub.hf_hub_download(
            repository, path, revision=commit, local_dir=folder, endpoint=hub_endpoint()
        )
        return Path(found)


def fetch_start(repository: str, commit: str, path: str, count: int) -> bytes:
    """The first ``count`` bytes of a file, also from a hub that cannot send a part of it. Raises SourceUnavailable."""
    found, latest = b"", time.monotonic() + _LONGEST_START_S
    with hub_errors(f"{path} of hf:{repository}"):
        address = huggingface_hub.hf_hub_url(repository, path, revision=commit, endpoint=hub_endpoint())
        library: Any = huggingface_hub.utils  # untyped upstream
        # Identity: a few compressed bytes could unpack to more than memory holds.
        asked = {"Range": f"bytes=0-{count - 1}", "Accept-Encoding": "identity"}
        headers = {**library.build_hf_headers(), **asked}
        with library.get_session().stream("GET", address, headers=headers, timeout=_TIMEOUT_S) as response:
            library.hf_raise_for_status(response)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise SourceUnavailable(path, "the hub compresses it, which was not asked for")
            for part in response.iter_raw():
                found += part
                if len(found) >= count:
                    break
                if time.monotonic() > latest:
                    raise TimeoutError
    return found[:count]


def hub_endpoint() -> str | None:
    """Address of the hub; None for the library's default, which it reads when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turns the library's errors into SourceUnavailable, in words of ours: its own name addresses and request ids."""
    try:
        yield
    except hub.GatedRepoError as error:
        raise SourceUnavailable(
            what, "its makers ask for consent first; give it on the hub's page of the model, then set HF_TOKEN"
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise SourceNotFound(what, "the hub has no such repository, or it is private and HF_TOKEN is needed") from error
    except hub.RevisionNotFoundError as error:
        raise SourceNotFound(what, "the repository has no such branch, tag or commit") from error
    except (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError) as error:
        raise SourceUnavailable(what, "the hub cannot be reached, or HF_HUB_OFFLINE is set") from error
    except hub.EntryNotFoundError as error:
        raise SourceNotFound(what, "the repository has no such file") from error
    except hub.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "unknown"
        raise SourceUnavailable(what, f"the hub answered with status {status}") from error
    except SourceUnavailable:
        raise
    except Exception as error:  # of one of several HTTP libraries, by the version of huggingface_hub
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of this machine's disk
        raise SourceUnavailable(what, "the hub cannot be reached") from error


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
