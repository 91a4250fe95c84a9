"""What validation found out because nobody said it: one line each, with the reason."""

from __future__ import annotations

from collections.abc import Callable

MOST_LINES = 100
LONGEST_LINE = 500

ORDER = ("kind", "text", "target", "task", "classes", "split")

Infer = Callable[[str, str, str], None]
"""Tells (what, value, why): `infer("kind", "table", "no column holds texts; --kind text decides otherwise")`."""


class InferredFacts:
    """Collects what was inferred. One line for each `what`; the last one counts."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def infer(self, what: str, value: str, why: str) -> None:
        """`what: value, because why`. The reason is a clause without a full stop; it ends with how to decide otherwise."""
        if what in self._lines or len(self._lines) < MOST_LINES:
            self._lines[what] = _bounded(f"{what}: {value}, because {why}")

    def lines(self) -> tuple[str, ...]:
        """All of them, as a report keeps them: what the data are, then what is learned, then the rest as it came."""
        first = [what for what in ORDER if what in self._lines]
        return tuple(self._lines[what] for what in (*first, *(what for what in self._lines if what not in ORDER)))


def ignore_inferred(what: str, value: str, why: str) -> None:
    """Drops what was inferred."""


def _bounded(line: str) -> str:
    text = line.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"
