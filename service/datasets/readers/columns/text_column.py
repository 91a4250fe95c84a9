"""Which column of a table holds its texts."""

from __future__ import annotations

from collections.abc import Mapping

from service.datasets.readers.columns.schema import Summary
from service.datasets.readers.columns.targets import TARGETS, TEXTS, by_usual_name


def text_column(rest: Mapping[str, Summary], target: str) -> str:
    """The column of texts: by its usual name, or the only one with prose where no numbers stand beside it."""
    labels = TARGETS[:-1]
    words = {
        name: summary
        for name, summary in rest.items()
        if not summary.numeric and not summary.unread and name != target and name.casefold() not in labels
    }
    if usual := by_usual_name(TEXTS, words):
        return usual
    prose = [name for name, summary in words.items() if summary.prose]
    numbers = [name for name, s in rest.items() if s.numeric and name != target and name.casefold() not in TARGETS]
    if len(prose) == 1 and (not numbers or len(rest) == 2):
        return prose[0]
    return next(iter(words)) if len(words) == 1 and len(rest) == 2 and not next(iter(words.values())).few else ""
