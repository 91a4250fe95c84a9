"""Where bytes come from.

A source finds an artifact, brings it to this machine and proves that it is the right one. Only package indexes exist
today (``pypi``). A model hub, a plain URL or a local folder would each be one more file here with a class of the shape
of ``Source``, one more kind of source on the card, and one more line in ``source_for``.
"""

from pathlib import Path
from typing import Protocol

from model_zoo.cards.card import PypiSource, SourceFile

__all__ = ["Progress", "Source", "source_for"]


class Progress(Protocol):
    """Told about bytes that have arrived. Called from the thread that downloads; must not block for long."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` bytes of ``what`` are here; ``total`` is 0 while unknown."""
        ...


class Source(Protocol):
    """One place bytes come from, bound to the source of one card."""

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """Bring the artifact into the folder ``downloads`` and give its path. What is there is used, or resumed.

        Raises:
            SourceUnavailable: it cannot be reached.
            DigestMismatch: it is not what the card promises; the file has been removed.
        """
        ...

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """One file of a fetched artifact, checked against its size and sha256.

        Raises:
            SourceUnavailable: the artifact does not hold that file.
            DigestMismatch: the file differs from the card.
        """
        ...


def source_for(source: PypiSource) -> Source:
    """The source that knows how to fetch what a card describes."""
    from model_zoo.sources.pypi import Pypi  # httpx is only needed by those who fetch

    return Pypi(source)
