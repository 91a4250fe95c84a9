"""Cards of pulled models in a home, and their weights, without a network."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.store import Store

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def pulled_card(name: str = "tiny") -> Card:
    card = Catalog.from_package().get("all_minilm_l6_v2")
    files = {role: file.model_dump() for role, file in card.source.files.items()}
    source = {"kind": "hub", "repository": "org/tiny", "commit": COMMIT, "files": files}
    document = card.model_dump(mode="json") | {"name": name, "reference": "hf:org/tiny", "source": source}
    return Card.model_validate(document)


def add_weights(home: Path, card: Card, folder: str) -> Path:
    """A folder of weights to which a card points."""
    path = home / "weights" / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.safetensors").write_bytes(b"x" * 1000)
    entry = {"name": "model.safetensors", "bytes": 1000, "sha256": "0" * 64}
    (path / "manifest.json").write_text(json.dumps({"converter": 1, "files": {"weights": entry}}))
    pointer = Store(home).pointer(card)
    pointer.parent.mkdir(exist_ok=True)
    pointer.write_text(json.dumps({"card": card.name, "digest": folder}))
    return path


def add_card(home: Path, card: Card) -> None:
    (home / "cards").mkdir(parents=True, exist_ok=True)
    (home / "cards" / f"{card.name}.yaml").write_text(yaml.safe_dump(card.model_dump(mode="json")))
