"""A network and an adapter for it, each from its own repository."""

from pathlib import Path

from model_zoo.cards.weight_source import (
    ADAPTER_FOLDER,
    AdaptedSource,
    HubSource,
    LocalSource,
    RepositoryPlace,
    SourceFile,
)
from model_zoo.sources.artifact_source import ArtifactSource, Progress
from model_zoo.sources.folder_files import LocalFolder
from model_zoo.sources.hub import HubRepositoryFiles

__all__ = ["AdaptedFiles"]


class AdaptedFiles:
    """The ``ArtifactSource`` of a model that was pulled as an adapter. Its artifact is that of the network; the
    adapter's lies where its own source puts it."""

    def __init__(self, source: AdaptedSource) -> None:
        files = source.files
        own = {role: file for role, file in files.items() if not file.path.startswith(ADAPTER_FOLDER)}
        # A source has weights: those of an adapter are the file with this role.
        self._adapter_files = {
            role.removeprefix("adapter_"): file.model_copy(update={"path": file.path.removeprefix(ADAPTER_FOLDER)})
            for role, file in files.items()
            if file.path.startswith(ADAPTER_FOLDER)
        }
        self._base, self._adapter = _source(source.base, own), _source(source.adapter, self._adapter_files)
        self._adapter_artifact = Path()

    @property
    def key(self) -> str:
        """See ArtifactSource. That of the network, since its files are the large ones."""
        return self._base.key

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of both artifacts, in the order in which pulls lock them."""
        return tuple(sorted({self._base.key, self._adapter.key}))

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """See ArtifactSource."""
        self._adapter_artifact = self._adapter.fetch(downloads, progress)
        return self._base.fetch(downloads, progress)

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """See ArtifactSource. Call ``fetch`` first."""
        if file.path.startswith(ADAPTER_FOLDER):
            stripped = file.model_copy(update={"path": file.path.removeprefix(ADAPTER_FOLDER)})
            return self._adapter.read(self._adapter_artifact, stripped)
        return self._base.read(artifact, file)

    def discard(self, artifact: Path) -> None:
        """See ArtifactSource."""
        self._base.discard(artifact)
        if self._adapter_artifact != Path():
            self._adapter.discard(self._adapter_artifact)


def _source(place: RepositoryPlace, files: dict[str, SourceFile]) -> ArtifactSource:
    if place.folder:
        return LocalFolder(LocalSource(kind="local", folder=place.folder, files=files))
    return HubRepositoryFiles(HubSource(kind="hub", repository=place.repository, commit=place.commit, files=files))
