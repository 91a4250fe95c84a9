"""Small videos, made as the tests need them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np


def video(
    *shots: int,
    size: tuple[int, int] = (64, 36),
    codec: str = "mpeg4",
    form: str = "mp4",
    rate: int = 25,
    **options: str,
) -> bytes:
    """So many frames of each colour, one colour after another."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for i, count in enumerate(shots):
            picture = np.full((size[1], size[0], 3), colour(i), np.uint8)
            for _ in range(count):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def colour(shot: int) -> Sequence[int]:
    return ((200, 30, 30), (30, 30, 200), (30, 200, 30))[shot % 3]


def sound_in_mp4() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for i in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 1024 * i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def without_frames() -> bytes:
    """A whole file of a video, with no frame in it."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 36
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    return file.getvalue()
