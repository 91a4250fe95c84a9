"""A contact sheet of a video: one frame of each of its shots, with its times, for `zoo predict --draw`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from service.client import Shot, Shots

MOST_SHOTS = 240
"""On a sheet. Of a video with more, the first ones are shown, and the sheet says how many there are."""
_TILE_WIDTH, _CAPTION, _GAP = 240, 20, 8
"""Pixels."""
_MOST_COLUMNS = 6
_MOST_PIXELS = 4 * 9_437_184
"""Of a frame. The server has the model's own limit, and has read the video before."""
_TALLEST = 3.0
"""Height of a tile, as a multiple of its width."""


class NotTheVideo(Exception):
    """A sheet cannot be made of a file. The text is one sentence for people."""


def contact_sheet(video: Path | bytes, answer: Shots) -> Image.Image:
    """The middle frame of each shot, in order of time, each above its times. Raises NotTheVideo."""
    from PIL import Image, ImageDraw, ImageFont

    shots = answer.shots[:MOST_SHOTS]
    frames = _middle_frames(video, answer, shots)
    columns = min(_MOST_COLUMNS, math.ceil(math.sqrt(len(shots))))
    rows = math.ceil(len(shots) / columns)
    height = frames[0].height + _CAPTION
    rest = len(answer.shots) - len(shots)
    size = (columns * (_TILE_WIDTH + _GAP) + _GAP, rows * (height + _GAP) + _GAP + (_CAPTION if rest else 0))
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for i, (shot, frame) in enumerate(zip(shots, frames, strict=True)):
        x, y = _GAP + i % columns * (_TILE_WIDTH + _GAP), _GAP + i // columns * (height + _GAP)
        sheet.paste(frame, (x, y))
        pen.text((x, y + frame.height + 3), f"{clock(shot.start_s)} to {clock(shot.end_s)}", fill="black", font=font)
    if rest:
        pen.text((_GAP, size[1] - _CAPTION), f"and {rest:,} shots more", fill="black", font=font)
    return sheet


def _middle_frames(video: Path | bytes, answer: Shots, shots: tuple[Shot, ...]) -> list[Image.Image]:
    from PIL import Image

    from service.tasks.video.video_frames import OpenVideo, UnreadableVideo, scaled

    wanted = [(shot.start_frame + shot.end_frame) // 2 for shot in shots]  # ascending, each once
    found: list[Image.Image] = []
    height = 0
    try:
        data = video if isinstance(video, bytes) else video.read_bytes()
        with OpenVideo(data, _MOST_PIXELS) as stream:
            for i, frame in enumerate(stream.frames()):
                if i != wanted[len(found)]:
                    continue
                if not height:
                    turned = round(frame.rotation / 90) % 2
                    shape = frame.width / frame.height if turned else frame.height / frame.width
                    height = max(1, round(_TILE_WIDTH * min(shape, _TALLEST)))
                pixels: Any = scaled(frame, _TILE_WIDTH, height)
                found.append(Image.fromarray(pixels))
                if len(found) == len(wanted):
                    return found
    except UnreadableVideo as problem:
        raise NotTheVideo(f"the video {problem}") from None
    except OSError as error:
        raise NotTheVideo(
            f"the video cannot be read again: {(error.strerror or type(error).__name__).lower()}"
        ) from None
    raise NotTheVideo(f"this is not the video that was sent: that one has {answer.frame_count:,} frames")


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours where there are any: `1:02.48`."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:{minutes:02}' if hours else minutes}:{rest // 100:02}.{rest % 100:02}"
