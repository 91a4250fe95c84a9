"""The interface of a source of weights, and the callback that reports its progress."""

from pathlib import Path
from typing import Protocol

from model_zoo.cards.weight_source import SourceFile

__all__ = ["ArtifactSource", "Progress"]


class Progress(Protocol):
    """Called with the number of bytes that have arrived. The downloading thread calls it; it must not block for long."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` bytes of ``what`` are here; ``total`` is 0 while it is unknown."""
        ...


class ArtifactSource(Protocol):
    """One place that holds an artifact, bound to the source of one card."""

    @property
    def key(self) -> str:
        """Name of the artifact, equal for all cards that use it; fit for a file name."""
        ...

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """Bring the artifact into the folder ``downloads`` and return its path. Complete files are used, partial ones resumed.

        Raises:
            SourceUnavailable: the artifact cannot be reached.
            DigestMismatch: the artifact is not the one on the card; the file has been removed.
        """
        ...

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """One file of a fetched artifact, checked against its size and sha256.

        Raises:
            SourceUnavailable: the artifact does not hold that file.
            DigestMismatch: the file differs from the card.
        """
        ...

    def discard(self, artifact: Path) -> None:
        """Remove a fetched artifact that is not needed any more."""
        ...
