"""Tuned versions on disk: listed, opened, and noted as damaged where they cannot be read. Every method blocks unless it says
otherwise."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from model_zoo.errors import StoreUnusable, UnknownVersion, VersionDamaged, VersionTooNew, ZooModelError
from model_zoo.version_folder import Version
from model_zoo.versions import Versions
from service.errors import NotFound, NotReady
from service.observability.log import logger
from service.registry.versions.damaged_versions import DamagedVersions

log = logger(__name__)


class VersionFolders:
    """Reads versions, in threads."""

    def __init__(self, versions: Versions | None, damaged: DamagedVersions) -> None:
        """`versions` is None for a server that has no tuned models."""
        self.versions = versions
        self.damaged = damaged
        self._reported: set[tuple[str, int]] = set()  # versions of whose damage the log has a line

    def first_report(self, model: str, number: int) -> bool:
        """Whether the log has no line on the damage of a version yet; from now on it has. Does not block."""
        first = (model, number) not in self._reported
        self._reported.add((model, number))
        return first

    def listing_at_start(self) -> Mapping[str, Collection[int]]:
        """The numbers of every model's versions, after leftovers were removed."""
        if self.versions is None:
            return {}
        self.versions.remove_withdrawn()
        try:
            return self.versions.listing()
        except StoreUnusable as error:
            log.error("tuned versions cannot be read", reason=str(error))
            return {}

    def read(self, wanted: Collection[tuple[str, int]]) -> list[Version]:
        """The versions that can be read; for each of the others the log gets one line."""
        assert self.versions is not None
        found = []
        for model, number in sorted(wanted):
            try:
                found.append(self.versions.open(model, number))
                self.damaged.forget(model, number)
            except UnknownVersion:  # deleted since it was listed
                self.damaged.forget(model, number)
            except VersionTooNew as error:
                self.damaged.note(self.versions, model, number, error.reason, newer=True)
                if self.first_report(model, number):
                    log.warning(
                        "a version is left to the servers of a newer Zoo",
                        model=model,
                        version=number,
                        reason=str(error),
                    )
            except ZooModelError as error:
                reason = error.reason if isinstance(error, VersionDamaged) else str(error)
                self.damaged.note(self.versions, model, number, reason)
                if self.first_report(model, number):
                    log.error("a version is left out", model=model, version=number, reason=str(error))
        return found

    def open(self, name: str, number: int) -> Version:
        """One version. Raises NotFound, NotReady."""
        if self.versions is None:
            raise NotFound("version", f"{name[:64]} {number}")
        try:
            return self.versions.open(name, number)
        except UnknownVersion as error:
            raise NotFound("version", str(number), known=str(error)) from error
        except ZooModelError as error:
            raise NotReady(str(error)) from error

    def check_exist(self, name: str, numbers: Collection[int]) -> None:
        """Raises NotFound where one of these versions is not on disk."""
        for number in numbers:
            if self.versions is not None and not self.versions.has(name, number):
                raise deleted_meanwhile(number)


def deleted_meanwhile(number: int) -> NotFound:
    """A version that was deleted while something else was done with it."""
    return NotFound("version", str(number), known="it was deleted meanwhile")
