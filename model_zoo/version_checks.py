"""Measurements of fine-tuned versions.

``ZOO_HOME/versions/<model>/.checks-<n>.json`` holds the measurements that servers made of version n on their tiers and
precisions, by key. The file may be removed; a server then measures again.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.errors import StoreUnusable
from model_zoo.locking import exclusive_lock
from model_zoo.version_folder import MANIFEST, is_model_name

__all__ = ["VersionChecks"]

_MOST_CHECKS = 32
"""Of one version; the oldest are dropped."""


class VersionChecks:
    """The measurements of all versions under one home. Threads and processes may share a home."""

    def __init__(self, home: Path) -> None:
        """Remember where home is; nothing is created before it is needed."""
        self._folder = home / "versions"

    def read(self, model: str, number: int) -> dict[str, Any]:
        """The measurements of a version by key; empty if there are none, or they cannot be read."""
        return (strict_json.read_object(self._path(model, number)) or {}) if is_model_name(model) else {}

    def record(self, model: str, number: int, key: str, document: Mapping[str, Any]) -> None:
        """Store a measurement under a key, beside those that are stored already. The file appears by rename.

        Does nothing if the version does not exist. Raises StoreUnusable.
        """
        if not is_model_name(model) or not (self._folder / model / str(number) / MANIFEST).is_file():
            return
        path = self._path(model, number)
        staged = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.new")
        try:
            with exclusive_lock(path.parent / ".lock"):
                checks = self.read(model, number) | {key: dict(document)}
                newest = dict(list(checks.items())[-_MOST_CHECKS:])
                staged.write_text(strict_json.text(newest, indent=1), encoding="utf-8")
                staged.replace(path)
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error
        finally:
            staged.unlink(missing_ok=True)

    def remove(self, model: str, number: int) -> None:
        """Remove the measurements of a version. Raises OSError."""
        self._path(model, number).unlink(missing_ok=True)

    def _path(self, model: str, number: int) -> Path:
        return self._folder / model / f".checks-{number}.json"
