"""Figures of a tuned version's decisions that servers wrote into the version's folder.

Figures are kept by tier, precision and machine, so that a restart or another version of the same head repeats no measurement.
`verification/` measures them; a loaded model has its record. All methods block: do not call them on the event loop.
"""

from __future__ import annotations

import contextlib

from model_zoo.errors import ZooModelError
from model_zoo.version_checks import VersionChecks
from model_zoo.version_folder import Version
from service.engine.decisions import Decisions
from service.observability.log import logger

log = logger(__name__)


class CheckRecord:
    """The held-out examples and the recorded figures of one version."""

    def __init__(self, version: Version | None) -> None:
        """`version`: None for a model of the zoo, which has no record. Reads nothing."""
        self.version = version

    def noted(self, key: str) -> Decisions | None:
        """The figures under a key; None where there are none, or where they cannot be read."""
        version = self.version
        if version is None:
            return None
        document = VersionChecks(version.home).read(version.model, version.number).get(key)
        if document is None:
            return None
        with contextlib.suppress(ValueError):
            return Decisions.model_validate(document)
        return None

    def all_noted(self) -> list[Decisions]:
        """All recorded figures, the latest last."""
        version = self.version
        found: list[Decisions] = []
        for document in (
            () if version is None else VersionChecks(version.home).read(version.model, version.number).values()
        ):
            with contextlib.suppress(ValueError):
                found.append(Decisions.model_validate(document))
        return found

    def note(self, key: str, decisions: Decisions) -> None:
        """Records figures. If the disk does not take them, the next start measures again."""
        version = self.version
        if version is None:
            return
        try:
            VersionChecks(version.home).record(version.model, version.number, key, decisions.model_dump(mode="json"))
        except ZooModelError as error:
            log.warning("a check could not be noted", model=version.model, version=version.number, reason=str(error))
