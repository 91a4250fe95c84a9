"""The corpus, chapter by chapter, in the order in which it is played against one server."""

from __future__ import annotations

from collections.abc import Callable

from tests.recorded.corpus import (
    budget,
    catalog,
    command,
    datasets,
    ending,
    inference,
    jobs,
    prediction,
    run_time,
    versions,
)
from tests.recorded.player import Player

CHAPTERS: tuple[Callable[[Player], None], ...] = (
    catalog.play,
    prediction.play,
    inference.play,
    run_time.play,
    budget.play,
    datasets.play,
    jobs.play,
    versions.play,
    command.play,
    ending.play,
)
