"""The interface of a repository: the files of one network, at one revision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from model_zoo import strict_json
from model_zoo.cards.network_config import config_fault
from model_zoo.errors import NotDerivable

__all__ = ["MOST_CONFIG_BYTES", "ListedFile", "Repository", "check_config", "config_of"]

MOST_CONFIG_BYTES = 4 << 20
"""Of a configuration file; one with the names of twenty thousand classes has a megabyte."""


@dataclass(frozen=True)
class ListedFile:
    """A file of a repository.

    Attributes:
        size: bytes.
        sha256: lower-case hex; empty where the place does not say it.
    """

    size: int
    sha256: str = ""


class Repository(Protocol):
    """The files of one network. Paths are relative, with forward slashes."""

    @property
    def name(self) -> str:
        """For messages: the reference, without a path of this machine."""

    @property
    def files(self) -> Mapping[str, ListedFile]:
        """All files by path."""

    @property
    def licence(self) -> str:
        """Of the weights, as the repository states it; ``not stated`` otherwise."""

    @property
    def task(self) -> str:
        """Hugging Face task id that the repository states; empty if it states none."""

    def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
        """The content of a small file.

        Raises:
            NotDerivable: it is larger than ``most`` bytes.
            SourceUnavailable: it cannot be read.
        """

    def start(self, path: str, count: int) -> bytes:
        """The first bytes of a file, which may be large and is not fetched for them.

        Raises:
            SourceUnavailable: it cannot be read.
        """


def config_of(repository: Repository, path: str) -> dict[str, Any]:
    """A JSON object of a repository; empty if there is no such file.

    Raises:
        NotDerivable: the file is no JSON object, or too large.
        SourceUnavailable: it cannot be read.
    """
    if path not in repository.files:
        return {}
    found = strict_json.parsed_object(repository.read(path))
    if found is None:
        raise NotDerivable(repository.name, f"{path} is not a JSON object")
    return found


def check_config(repository: Repository, config: Mapping[str, Any], path: str = "config.json") -> None:
    """Raises NotDerivable for sizes that no network has, and for computation by fetched code, before a network is built."""
    if fault := config_fault(config, where=f" in {path}"):
        raise NotDerivable(repository.name, fault)
