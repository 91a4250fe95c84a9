"""What every pull ends with: files pinned by their digests, and a card under ZOO_HOME."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import SourceFile
from model_zoo.catalog import CARDS
from model_zoo.materialised import Materialised

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pulled:
    """A model that is ready to be served."""

    card: Card
    files: Materialised
    already: bool
    """Whether it was on this machine before."""


def pinned(folder: Path, path: str) -> SourceFile:
    """A file of a folder with its digest."""
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return SourceFile(path=path, sha256=digest, bytes=file.tell())


def publish_card(card: Card, home: Path) -> None:
    """Writes the card under its name, whole or not at all."""
    document = card.model_dump(mode="json", exclude_defaults=True)
    finite = strict_json.read(strict_json.text(document))
    text = yaml.dump(finite, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=120)
    folder = home / CARDS
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{card.name}-{uuid.uuid4().hex}"
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(folder / f"{card.name}.yaml")
