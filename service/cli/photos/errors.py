"""The error of `zoo photos`."""

from __future__ import annotations

from collections.abc import Sequence


class PhotosError(Exception):
    """An index cannot be made or searched. The text is one sentence for people."""


class NoDirection(PhotosError):
    """An embedding of zeros, or one with numbers that are not finite."""


class UnknownWord(PhotosError):
    """No label of the classifier has a word of a search."""

    def __init__(self, word: str, near: Sequence[str]) -> None:
        self.word, self.near = word, tuple(near)
        """`near`: known words with a similar spelling."""
        similar = f"; similar words that are known: {', '.join(self.near)}" if near else ""
        super().__init__(f"no label of the index has the word {word!r}{similar}")
