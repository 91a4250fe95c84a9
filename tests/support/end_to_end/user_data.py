"""Data of users: photos by class, texts by topic, a table. Photos and texts come from apt packages; the table is generated.

Imports only the standard library and pytest, since the environment of the stock clients uses it too.
"""

from __future__ import annotations

import csv
import io
import math
import random
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.end_to_end.components import find_folder

PHOTO_CLASSES = {"birds": "animals/birds", "coins": "symbols/money", "vehicles": "vehicles"}
TOPICS = ("computers", "food", "startrek")
STYLES = ("songs-poems", "startrek")
NO_PHOTO = ("cartoon", "toys", "_mirror", "_flip")
"""Parts of the paths of drawings, toys and duplicates."""
PHOTOS, TEXTS, STYLED = 12, 30, 45
"""Training examples of each class; later ones are not trained on."""

NEW_SENTENCES = {
    "computers": "The compiler found a bug in the operating system of my computer, so I wrote the program anew.",
    "food": "Bake the bread with butter and serve it with cheese, soup and a glass of milk for dinner.",
    "startrek": "Captain Kirk beamed up to the Enterprise, and Spock raised an eyebrow at the Klingons.",
}
"""Sentences written for these tests, by topic."""


def photos() -> dict[str, list[Path]]:
    """Photos by class in order of name: the first PHOTOS are for training."""
    stamps = find_folder(Path("/usr/share/tuxpaint/stamps"), "tuxpaint-stamps-default")
    found = {}
    for name, inside in PHOTO_CLASSES.items():
        paths = sorted((stamps / inside).rglob("*.png"))
        found[name] = [path for path in paths if not any(word in str(path) for word in NO_PHOTO)]
    return found


def new_photos(most: int = 5) -> dict[str, list[Path]]:
    """Photos by class that are not trained on."""
    return {name: paths[PHOTOS : PHOTOS + most] for name, paths in photos().items()}


def texts(topic: str) -> list[str]:
    """Texts of a topic without duplicates."""
    folder = find_folder(Path("/usr/share/games/fortunes"), "fortunes")
    whole = (folder / topic).read_text("utf-8", "replace")
    return list(dict.fromkeys(text.strip() for text in re.split(r"^%+\s*$", whole, flags=re.M) if text.strip()))


def photos_zip(path: Path, also: Mapping[str, bytes] | None = None, count: int = PHOTOS) -> Path:
    """A folder of `count` pictures for each class, and the files of `also`."""
    with zipfile.ZipFile(path, "w") as archive:
        for label, paths in photos().items():
            for i, photo in enumerate(paths[:count]):
                archive.writestr(f"{label}/{i:03}-{photo.name}", photo.read_bytes())
        for name, data in (also or {}).items():
            archive.writestr(name, data)
    return path


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def topics_csv(path: Path, count: int = TEXTS) -> Path:
    """`count` texts of each topic."""
    return _csv(path, ("text", "topic"), [(text, topic) for topic in TOPICS for text in texts(topic)[:count]])


def styles_csv(path: Path) -> Path:
    """STYLED texts of each style."""
    return _csv(path, ("text", "style"), [(text, style) for style in STYLES for text in texts(style)[:STYLED]])


def flats_csv(path: Path, rows: int = 400) -> Path:
    """A table of rents by size, age and part of the town, seeded and with noise."""
    dice = random.Random(0)
    made = []
    for _ in range(rows):
        size, age, part = dice.uniform(20, 160), dice.uniform(0, 90), dice.choice(["harbour", "centre", "hills"])
        rent = 9 * size * {"harbour": 1.2, "centre": 1.5, "hills": 0.9}[part] * math.exp(-age / 200)
        made.append((f"{size:.1f}", f"{age:.0f}", part, f"{rent + dice.gauss(0, 40):.0f}"))
    return _csv(path, ("size", "age", "part", "rent"), made)


def _csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
