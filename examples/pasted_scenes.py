"""Constructs pictures with known boxes and masks: Tux Paint's stamps, pasted onto parts of scikit-learn's two photographs.

    apt-get install tuxpaint-stamps-default
    python -m examples.pasted_scenes scenes            a COCO folder: scenes/images/…, scenes/annotations/…
    python -m examples.pasted_scenes masked --masks    a folder of pictures and masks: masked/images/…, masked/masks/…

No scene of the validation or test split shows a stamp, or a part of a photograph, that a training scene shows. The same
seed gives the same pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

STAMPS = Path("/usr/share/tuxpaint/stamps")
CLASSES = {
    "bird": "animals/birds",
    "fruit": "food/fruit",
    "flower": "plants/flowers",
    "mammal": "animals/mammals",
    "vehicle": "vehicles",
}
NO_PHOTO = ("cartoon", "toys", "_mirror", "_flip")
SIZE = (480, 360)
SPLITS = {"train": 160, "val": 30, "test": 60}
"""Scenes of each split."""
SHARES = {"train": (0.0, 0.7), "val": (0.7, 0.8), "test": (0.8, 1.0)}
"""Of the stamps of each class, and of the width of each photograph."""
MOST_STAMPS = 4
SIDES = (80, 200)
"""Pixels of a stamp's longer side."""
VISIBLE = 128
"""Opacity from which a pixel of a stamp belongs to it, 0..255."""


@dataclass(frozen=True)
class Scene:
    """A picture, the boxes (class, x, y, width, height) of its stamps, and the class of each pixel: 0 for the background."""

    picture: Image.Image
    boxes: tuple[tuple[int, int, int, int, int], ...]
    mask: NDArray[np.uint8]


def stamps_of(split: str) -> list[list[Path]]:
    """The stamps of each class that a split may show."""
    found = []
    for folder in CLASSES.values():
        paths = [p for p in sorted((STAMPS / folder).rglob("*.png")) if not any(word in str(p) for word in NO_PHOTO)]
        order = np.random.default_rng(7).permutation(len(paths))
        low, high = (round(share * len(paths)) for share in SHARES[split])
        found.append([paths[i] for i in order[low:high]])
    return found


def scenes(split: str, count: int) -> Iterator[Scene]:
    """Scenes of a split."""
    rng = np.random.default_rng(sorted(SPLITS).index(split))
    stamps = stamps_of(split)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for _ in range(count):
        yield scene(rng, stamps, photographs[rng.integers(len(photographs))], SHARES[split])


def scene(
    rng: np.random.Generator, stamps: Sequence[Sequence[Path]], photograph: Image.Image, share: tuple[float, float]
) -> Scene:
    """Up to `MOST_STAMPS` stamps that hardly overlap, on a part of a photograph."""
    left, right = (round(edge * photograph.width) for edge in share)
    wide = min(right - left, round(photograph.height * SIZE[0] / SIZE[1]))
    wide = int(rng.integers(wide // 2, wide + 1))
    high = wide * SIZE[1] // SIZE[0]
    x, y = left + int(rng.integers(right - left - wide + 1)), int(rng.integers(photograph.height - high + 1))
    picture = photograph.crop((x, y, x + wide, y + high)).resize(SIZE)
    mask, boxes = np.zeros(SIZE[::-1], np.uint8), []
    for _ in range(int(rng.integers(0, MOST_STAMPS + 1))):
        kind = int(rng.integers(len(stamps)))
        stamp = Image.open(stamps[kind][int(rng.integers(len(stamps[kind])))]).convert("RGBA")
        stamp = stamp.crop(stamp.getchannel("A").point(lambda a: 255 * (a >= VISIBLE)).getbbox())
        scale = int(rng.integers(*SIDES)) / max(stamp.size)
        stamp = stamp.resize((max(8, round(stamp.width * scale)), max(8, round(stamp.height * scale))))
        x, y = (int(rng.integers(0, whole - side + 1)) for whole, side in zip(SIZE, stamp.size, strict=True))
        here = mask[y : y + stamp.height, x : x + stamp.width]
        visible = np.asarray(stamp.getchannel("A")) >= VISIBLE
        if (here > 0).mean() > 0.02 or not visible.any():
            continue
        picture.paste(stamp, (x, y), stamp)
        here[visible] = kind + 1
        rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
        width, height = int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)
        boxes.append((kind, x + int(columns[0]), y + int(rows[0]), width, height))
    return Scene(picture, tuple(boxes), mask)


def write_coco(folder: Path, splits: Mapping[str, int]) -> None:
    """A folder of scenes and a JSON file of each split."""
    (folder / "annotations").mkdir(parents=True)
    for split, count in splits.items():
        (folder / "images" / split).mkdir(parents=True)
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for i, made in enumerate(scenes(split, count)):
            name = f"{split}_{i:03}.jpg"
            made.picture.save(folder / "images" / split / name, quality=90)
            images.append({"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            for kind, *box in made.boxes:
                annotations.append({"id": len(annotations), "image_id": i, "category_id": kind, "bbox": box})
        categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(document))


def write_masks(folder: Path, splits: Mapping[str, int]) -> None:
    """A folder of scenes, a folder of masks with the number of a class for each pixel, and the names of the classes."""
    for split, count in splits.items():
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for i, made in enumerate(scenes(split, count)):
            made.picture.save(folder / "images" / split / f"{split}_{i:03}.jpg", quality=90)
            Image.fromarray(made.mask).save(folder / "masks" / split / f"{split}_{i:03}.png")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in ("background", *CLASSES)))


def main() -> None:
    """Writes the folder that the command line names."""
    parser = argparse.ArgumentParser(description="construct pictures with known boxes or masks")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--masks", action="store_true", help="write masks, not boxes")
    parser.add_argument("--count", type=int, default=sum(SPLITS.values()), help="of pictures, at least 10")
    given = parser.parse_args()
    if given.count < 10:
        parser.error(f"expected at least 10 pictures, got {given.count}")
    splits = {name: given.count * share // sum(SPLITS.values()) for name, share in SPLITS.items()}
    splits["train"] += given.count - sum(splits.values())
    (write_masks if given.masks else write_coco)(given.folder, splits)
    sys.stdout.write(f"{given.count} pictures are in {given.folder}; {splits['test']} of them are held out\n")


if __name__ == "__main__":
    main()
