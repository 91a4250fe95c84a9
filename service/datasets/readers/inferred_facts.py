"""Facts that validation infers about the data: one line each, with the reason."""

from __future__ import annotations

from collections.abc import Callable

MOST_LINES = 100
LONGEST_LINE = 500

ORDER = ("kind", "text", "target", "task", "classes", "split")

Infer = Callable[[str, str, str], None]
"""Called with (what, value, why): `infer("kind", "table", "no column holds texts; --kind text decides otherwise")`."""


class InferredFacts:
    """Collects inferred facts: one line for each `what`, the last one counts."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def infer(self, what: str, value: str, why: str) -> None:
        """Add `what: value, because why`. `why` is a clause without a full stop, and ends with how to decide otherwise."""
        if what in self._lines or len(self._lines) < MOST_LINES:
            self._lines[what] = _bounded(f"{what}: {value}, because {why}")

    def lines(self) -> tuple[str, ...]:
        """All lines in the order of a report: first what the data are, then what is learned, then the others as they came."""
        first = [what for what in ORDER if what in self._lines]
        return tuple(self._lines[what] for what in (*first, *(what for what in self._lines if what not in ORDER)))


def ignore_inferred(what: str, value: str, why: str) -> None:
    """Drops an inferred fact."""


def _bounded(line: str) -> str:
    text = line.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"
