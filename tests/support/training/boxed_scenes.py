"""Scenes of coloured shapes with known boxes, and a detector with random weights that learns them in seconds."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from model_zoo.cards.card import Card
from model_zoo.catalog import CARDS, Catalog
from model_zoo.network import build_network
from model_zoo.sources.digest import sha256_of_file
from model_zoo.store import Store
from tests.support.datasets.dataset_files import zipped

DETECTOR = "tiny_detector"
SIDE = 64
COLOURS = {"brick": (200, 40, 30), "leaf": (30, 180, 60)}


def coco_scenes(count: int, seed: int, names: tuple[str, str] = ("brick", "leaf")) -> bytes:
    """An archive of scenes with one or two shapes each, but every tenth with none, and COCO's JSON of their boxes."""
    rng = np.random.default_rng(seed)
    files: dict[str, bytes | str] = {}
    images, annotations = [], []
    for i in range(count):
        pixels = rng.integers(90, 130, (SIDE, SIDE, 3), np.uint8)
        for left in () if i % 10 == 9 else (2, 34)[: 1 + i % 2]:
            kind = int(rng.integers(2))
            width, height = (int(n) for n in rng.integers(16, 27, 2))
            x, y = left + int(rng.integers(0, 28 - width + 1)), int(rng.integers(2, SIDE - height - 1))
            pixels[y : y + height, x : x + width] = tuple(COLOURS.values())[kind]
            annotations.append(
                {"id": len(annotations), "image_id": i, "category_id": kind, "bbox": [x, y, width, height]}
            )
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "PNG")
        files[f"images/{i:03}.png"] = written.getvalue()
        images.append({"id": i, "file_name": f"{i:03}.png", "width": SIDE, "height": SIDE})
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return zipped(files | {"annotations.json": json.dumps(document)})


def picture_of(archive: bytes, number: int) -> bytes:
    """A picture of an archive of scenes."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read(f"images/{number:03}.png")


def add_detector(home: Path) -> Card:
    """Adds the card and the weights of the detector to a home. It knows a class `leaf`."""
    document = Catalog.from_package().get("nanodet").model_dump(mode="json", exclude_defaults=True)
    arguments = {"classes": 2, "bins": 5, "channels": 8, "blocks": [1, 1, 1, 1], "width": 16}
    document |= {"name": DETECTOR, "default": False, "class_names": ["leaf", "cloud"], "parameters": 1}
    document["architecture"]["arguments"] = arguments
    document["signature"]["inputs"][0]["shape"] = [-1, 3, SIDE, SIDE]
    for output, size in zip(document["signature"]["outputs"], (2, 4), strict=True):
        output["shape"] = [-1, 84, size]
    document["recipe"] |= {"size": [SIDE, SIDE], "resize_shorter": SIDE}
    card = Card.model_validate(document)
    (home / CARDS).mkdir(parents=True, exist_ok=True)
    (home / CARDS / f"{DETECTOR}.yaml").write_text(json.dumps(document))
    folder = home / "weights" / ("d" * 64)
    folder.mkdir(parents=True)
    torch.manual_seed(2)
    save_file(build_network(card).backbone.state_dict(), folder / "model.safetensors")
    (folder / "labels.txt").write_text("leaf\ncloud\n")
    names = {"weights": "model.safetensors", "labels": "labels.txt"}
    files = {
        role: {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of_file(folder / name)}
        for role, name in names.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"converter": 1, "files": files}))
    pointer = Store(home).pointer(card)
    pointer.parent.mkdir(exist_ok=True)
    pointer.write_text(json.dumps({"card": DETECTOR, "digest": folder.name}))
    return card
