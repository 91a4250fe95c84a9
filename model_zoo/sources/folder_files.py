"""Files of a repository in a folder, read one at a time and compared with the digests on the card."""

from pathlib import Path

from model_zoo.cards.weight_source import LocalSource, SourceFile
from model_zoo.errors import SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_bytes

__all__ = ["LocalFolder", "read_checked", "read_from_folder", "stays_inside"]


class LocalFolder:
    """The ``ArtifactSource`` of a model that was pulled from a folder of this machine; the folder is never changed."""

    def __init__(self, source: LocalSource) -> None:
        self._source = source

    @property
    def key(self) -> str:
        """See ArtifactSource."""
        return f"local-{self._source.files['weights'].sha256[:16]}"

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """The folder itself.

        Raises:
            SourceUnavailable: it is gone.
        """
        folder = Path(self._source.folder)
        if not folder.is_dir():
            raise SourceUnavailable(f"local:{folder.name}", "there is no such folder any more")
        return folder

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource."""
        return read_from_folder(artifact, file)

    def discard(self, artifact: Path) -> None:
        """Does nothing: the folder is the user's."""


def stays_inside(folder: Path, path: Path) -> bool:
    """Whether a path below a folder, with its links followed, ends in it. A snapshot in the cache of huggingface_hub is made of
    links to the folder ``blobs`` beside ``snapshots``."""
    root, found = folder.resolve(), path.resolve()
    return found.is_relative_to(root) or (
        root.parent.name == "snapshots" and found.is_relative_to(root.parent.parent / "blobs")
    )


def read_from_folder(folder: Path, file: SourceFile) -> bytes:
    """One file of a folder, of exactly the size and sha256 on the card.

    Raises:
        SourceUnavailable: there is no such file, it lies outside the folder, or it has another size.
        DigestMismatch: it has the right size and another content.
    """
    path = folder / file.path
    name = f"{file.path} of {folder.name}"
    if not stays_inside(folder, path):
        raise SourceUnavailable(name, "it is a link to a file outside the folder")
    return read_checked(path, file, name)


def read_checked(path: Path, file: SourceFile, name: str) -> bytes:
    """A file of exactly the size and sha256 on the card. Messages call it by `name`.

    Raises:
        SourceUnavailable: there is no such file, or it has another size.
        DigestMismatch: it has the right size and another content.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(file.bytes + 1)
    except OSError as error:
        raise SourceUnavailable(name, "there is no such file, or it cannot be read") from error
    if len(content) != file.bytes:
        raise SourceUnavailable(name, f"the file does not have the {file.bytes} bytes of the card")
    check_bytes(content, file.sha256, file.path)
    return content
