"""Cards in a home, as a pull leaves them."""

from __future__ import annotations

from pathlib import Path

from model_zoo import strict_json
from model_zoo.catalog import CARDS, Catalog


def write_card(home: Path, name: str, base: str = "char_lstm", **fields: object) -> Path:
    """Writes the card of a model of the package under another name, with some fields changed."""
    card = Catalog.from_package().get(base)
    folder = home / CARDS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    document = {**card.model_dump(mode="json", exclude_defaults=True), "default": False, **fields, "name": name}
    path.write_text(strict_json.text(document), "utf-8")
    return path
