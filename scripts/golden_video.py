"""Makes `model_zoo/golden/shots.mp4`: slow pans over photos of the repository, with hard cuts between them.

    python -m scripts.golden_video [FILE]

The cuts are known, so that what a network finds can be compared with them. Encoders differ between versions of FFmpeg, so that
the bytes of the file are not the same everywhere; what is seen in it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = (
    "model_zoo/golden/coffee.jpg",
    "examples/rocket.jpg",
    "model_zoo/golden/cat.jpg",
    "model_zoo/golden/coffee.jpg",
)
FRAMES = (45, 60, 38, 37)
"""Of each photo: 180 in all, cuts after frames 44, 104 and 142."""
SIZE = (192, 108)
RATE = 25


def pan(photo: Path, count: int, backwards: bool) -> list[Image.Image]:
    """`count` frames from the left of a photo to its right, or back."""
    image = Image.open(photo).convert("RGB")
    width = round(SIZE[0] * 1.25)
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    top = max(0, (image.height - SIZE[1]) // 2)
    lefts = np.linspace(0, width - SIZE[0], count).round().astype(int)
    boxes = [(left, top, left + SIZE[0], top + SIZE[1]) for left in lefts.tolist()]
    return [image.crop(box) for box in (reversed(boxes) if backwards else boxes)]


def write(path: Path) -> None:
    """Writes the video."""
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=RATE, options={"crf": "30", "preset": "veryslow"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for i, (photo, count) in enumerate(zip(PHOTOS, FRAMES, strict=True)):
            for image in pan(ROOT / photo, count, backwards=i == len(PHOTOS) - 1):
                for packet in stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")):
                    video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "model_zoo" / "golden" / "shots.mp4")
