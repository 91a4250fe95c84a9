"""Messages between `pull_process` and `pull_worker`: an order on standard input, and an object
with variables of the environment; reports on standard output, in lines of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from model_zoo.cards.card import Card


class PullOrder(BaseModel):
    """A reference to pull, see `pull_reference`; or a locked model, see `pull_locked`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str
    home: Path
    """Absolute."""
    name: str = ""
    task: str = ""
    labels: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    offline: bool = False
    locked: Card | None = None
    """The card of a lock file that is to be pulled exactly; None to derive one from the reference."""
    memory: int
    """Bytes that the machine or the container has."""
    budget: int = 0
    """Bytes of memory that the settings allow to all models together; 0 for no limit."""


class PullReport(BaseModel):
    """What the worker says. Exactly one `pulled` or `refused` is the last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["line", "progress", "pulled", "refused"]
    text: str = ""
    """A line for the user; the file that arrives; the name of the model that was pulled; or why it was refused."""
    done: int = 0
    total: int = 0
    """Bytes that have arrived, of all; `total` is 0 while it is unknown."""
    already: bool = False
    """Whether the model was on this machine before."""
    error: str = ""
    """Name of the class of `model_zoo.errors` that refused it."""
