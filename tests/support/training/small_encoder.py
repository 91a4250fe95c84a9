"""Pictures of coloured shapes with masks, and a card by which a real encoder reads small pictures: it learns them in seconds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.catalog import CARDS, Catalog
from model_zoo.sources.digest import sha256_of_file
from model_zoo.store import Store
from tests.support.datasets.dataset_files import zipped

ENCODER = "tiny_encoder"
SIDE = 64
COLOURS = ((110, 110, 110), (200, 40, 30), (30, 180, 60))


def masked_shapes(count: int, seed: int, names: str = "ground\nbrick\nleaf\n") -> bytes:
    """An archive of pictures of 48 × 40 with a shape each, of one of two classes, and their masks."""
    rng = np.random.default_rng(seed)
    files: dict[str, bytes | str] = {"classes.txt": names}
    for i in range(count):
        mask = np.zeros((40, 48), np.uint8)
        height, width = (int(n) for n in rng.integers(14, 26, 2))
        y, x = int(rng.integers(0, 40 - height)), int(rng.integers(0, 48 - width))
        mask[y : y + height, x : x + width] = 1 + i % 2
        noise = rng.integers(-20, 21, (40, 48, 3))
        pixels = (np.array(COLOURS)[mask] + noise).clip(0, 255).astype(np.uint8)
        for folder, content in (("images", pixels), ("masks", mask)):
            written = io.BytesIO()
            Image.fromarray(content).save(written, "PNG")
            files[f"{folder}/{i:03}.png"] = written.getvalue()
    return zipped(files)


def add_encoder(home: Path, real_home: Path) -> Card:
    """Adds the card to a home, with the weights that another one has."""
    real = Store(real_home).find(Catalog.from_package().get("efficientnet_lite0"))
    assert real is not None
    document = Catalog.from_package().get("efficientnet_lite0").model_dump(mode="json", exclude_defaults=True)
    document |= {"name": ENCODER, "default": False}
    document["signature"]["inputs"][0]["shape"] = [-1, 3, SIDE, SIDE]
    document["recipe"] |= {"size": [SIDE, SIDE], "resize_shorter": SIDE}
    card = Card.model_validate(document)
    (home / CARDS).mkdir(parents=True, exist_ok=True)
    (home / CARDS / f"{ENCODER}.yaml").write_text(json.dumps(document))
    folder = home / "weights" / ("e" * 64)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").symlink_to(real.weights)
    (folder / "labels.txt").write_bytes((real.folder / "labels.txt").read_bytes())
    names = {"weights": "model.safetensors", "labels": "labels.txt"}
    files = {
        role: {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of_file(folder / name)}
        for role, name in names.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"converter": 1, "files": files}))
    pointer = Store(home).pointer(card)
    pointer.parent.mkdir(exist_ok=True)
    pointer.write_text(json.dumps({"card": ENCODER, "digest": folder.name}))
    return card
