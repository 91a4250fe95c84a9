"""Files that come with Zoo's own package, such as weights of a few hundred kilobytes, and networks without a file: their numbers
are those of the card, or come with each row. No network connection is needed."""

from pathlib import Path

from model_zoo.cards.weight_source import BundledSource, SourceFile
from model_zoo.errors import SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.folder_files import read_checked

__all__ = ["PACKAGE", "BundledFiles", "CardNumbers"]

PACKAGE = Path(__file__).parents[1]
"""The folder `model_zoo`, of a checkout or of an installed wheel."""


class BundledFiles:
    """The ``ArtifactSource`` of a card whose files ship with Zoo. The artifact is the package's own folder, which is
    never changed."""

    def __init__(self, source: BundledSource, package: Path = PACKAGE) -> None:
        self._source, self._package = source, package

    @property
    def key(self) -> str:
        """See ArtifactSource."""
        return f"bundled-{self._source.files['weights'].sha256[:16]}"

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """The package's folder; nothing is copied into ``downloads``."""
        return self._package

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource. Links are followed: an installer may link the files of a package to its cache."""
        return read_checked(artifact / file.path, file, f"{file.path} of Zoo's package")

    def discard(self, artifact: Path) -> None:
        """Does nothing: the files are Zoo's own."""


class CardNumbers:
    """The ``ArtifactSource`` of a card that has no artifact."""

    key = "card-numbers"

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """See ArtifactSource; there is nothing to fetch, and no file at the path."""
        return downloads / self.key

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource. Raises SourceUnavailable: such a card names no file."""
        raise SourceUnavailable(file.path, "the card has no files")

    def discard(self, artifact: Path) -> None:
        """Does nothing."""
