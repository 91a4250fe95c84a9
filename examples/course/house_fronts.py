"""Makes pictures of house fronts with a table: `python examples/course/house_fronts.py FILE.zip`.

The prices are constructed. A front has one to four storeys, which only the picture shows; the area of a storey is only in the
table:

    price = 20,000 + 60,000 × storeys + 900 × area + noise
"""

from __future__ import annotations

import io
import random
import sys
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

FRONTS, SIDE, NOISE = 80, 96, 8_000


def front(storeys: int, dice: random.Random) -> bytes:
    """A PNG of a front."""
    image = Image.new("RGB", (SIDE, SIDE), (170, 205, 235))
    pen = ImageDraw.Draw(image)
    wall = tuple(dice.randint(120, 230) for _ in range(3))
    left, right, top = dice.randint(8, 20), SIDE - dice.randint(8, 20), SIDE - 6 - 20 * storeys
    pen.rectangle((left, top, right, SIDE - 6), fill=wall)
    pen.rectangle((0, SIDE - 6, SIDE, SIDE), fill=(90, 140, 80))
    for storey in range(storeys):
        for x in range(left + 6, right - 8, 16):
            y = SIDE - 22 - 20 * storey
            pen.rectangle((x, y, x + 8, y + 10), fill=(40, 50, 70))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def main(file: Path) -> None:
    """Write the archive, and beside it a low and a high front that are not in it."""
    dice = random.Random(0)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["image,area,price"]
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(FRONTS):
            storeys, area = dice.randint(1, 4), dice.randint(40, 160)
            price = 20_000 + 60_000 * storeys + 900 * area + dice.gauss(0, NOISE)
            archive.writestr(f"{number:03}.png", front(storeys, dice))
            lines.append(f"{number:03}.png,{area},{price:.0f}")
        archive.writestr("fronts.csv", "\n".join(lines) + "\n")
    for name, storeys in (("low", 1), ("high", 4)):
        (file.parent / f"{name}.png").write_bytes(front(storeys, dice))
    print(f"{FRONTS} fronts in {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
