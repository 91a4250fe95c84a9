"""A finding of a checkup, and the report of all findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """An item of a home that is damaged or worth a note."""

    kind: str
    """`home`, `folder`, `database`, `upload`, `dataset`, `job`, `event`, `checkpoint`, `version`, `alias`, `card`, `weights` or
    `leftover`."""
    name: str
    reason: str
    """One clause of a sentence."""
    path: Path | None = None
    """Path of its files, if it has any."""
    rows: tuple[Any, ...] = ()
    """Keys of its rows in the database, if it has any."""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON output has it."""
        return {"kind": self.kind, "name": self.name, "reason": self.reason, "path": str(self.path or "")}


@dataclass(slots=True)
class Report:
    """All findings of a checkup. A home is sound if nothing is damaged; notes are harmless."""

    damaged: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    """Number of checked items by kind."""

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    def count(self, kind: str, number: int = 1) -> None:
        """Counts checked items."""
        self.checked[kind] = self.checked.get(kind, 0) + number

    def damage(self, kind: str, name: str, reason: str, path: Path | None = None, rows: tuple[Any, ...] = ()) -> None:
        """Adds a damaged item."""
        self.damaged.append(Finding(kind, name, reason, path, rows))

    def note(self, kind: str, name: str, reason: str, path: Path | None = None) -> None:
        """Adds a harmless note."""
        self.notes.append(Finding(kind, name, reason, path))
