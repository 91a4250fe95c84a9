"""What there is to say of one entry of a home."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry that is not as it should be."""

    kind: str
    """`home`, `folder`, `database`, `upload`, `dataset`, `job`, `event`, `checkpoint`, `version`, `alias`, `card`, `weights` or
    `leftover`."""
    name: str
    reason: str
    """One clause."""
    path: Path | None = None
    """Where its files are, if it has any."""
    rows: tuple[Any, ...] = ()
    """What finds its rows in the database again, if it has any."""

    def shown(self) -> dict[str, str]:
        """For programs."""
        return {"kind": self.kind, "name": self.name, "reason": self.reason, "path": str(self.path or "")}


@dataclass(slots=True)
class Report:
    """All that was found. A home is sound where nothing is damaged; notes do no harm."""

    damaged: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    """How many entries of each kind were looked at."""

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    def count(self, kind: str, number: int = 1) -> None:
        """So many more were looked at."""
        self.checked[kind] = self.checked.get(kind, 0) + number

    def damage(self, kind: str, name: str, reason: str, path: Path | None = None, rows: tuple[Any, ...] = ()) -> None:
        """An entry is damaged."""
        self.damaged.append(Finding(kind, name, reason, path, rows))

    def note(self, kind: str, name: str, reason: str, path: Path | None = None) -> None:
        """Something to know, that does no harm."""
        self.notes.append(Finding(kind, name, reason, path))
