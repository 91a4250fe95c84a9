"""Published networks that people ask for first, by reference: a packaged list, without contact to a hub.

An entry is a reference, its task and a sentence. Nobody has pulled them for this list: what a repository holds shows at the pull.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

__all__ = ["HubEntry", "hub_catalog"]


@dataclass(frozen=True)
class HubEntry:
    """A network of a hub.

    Attributes:
        reference: as ``zoo pull`` takes it.
        task: Hugging Face task id.
        summary: one sentence.
        verification: always ``none``; the first pull verifies.
    """

    reference: str
    task: str
    summary: str
    verification: Literal["none"]


@cache
def hub_catalog() -> tuple[HubEntry, ...]:
    """The entries, in the order of the file: by task, those that most people want first."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return tuple(HubEntry(**entry) for entry in yaml.safe_load(text))
