"""Encoded videos → their frames, one after another, by the libraries of FFmpeg (PyAV). Blocks; call it in the pool.

The container is told by the first bytes of the file and given to FFmpeg by name. FFmpeg would guess otherwise, and some of the
formats that it knows are playlists, which name files and addresses to open. Decoders are limited to those of videos in use, and
run in the caller's thread.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.errors import NotReady

if TYPE_CHECKING:
    import av

CODECS = frozenset(
    [
        "av1",
        "h263",
        "h264",
        "hevc",
        "libdav1d",
        "libvpx",
        "libvpx-vp9",
        "mjpeg",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "vp8",
        "vp9",
    ]
)
"""Decoders of FFmpeg that are used."""
NO_READER = "the package 'av', which reads videos, is not installed on this machine: pip install 'zoo-serving[video]'"
EXPECTED = "expected an MP4, MOV, WebM, Matroska, AVI or MPEG-TS video"
PHOTO_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
"""Of files in the container of MP4 that are photos."""
_ATOMS = (b"ftyp", b"free", b"mdat", b"moov", b"skip", b"wide")
_TS_PACKET, _TS_SYNC = 188, 0x47
_LEAST_SHARE = 0.9
"""Share of the announced time that a video must have, or it counts as truncated: the frames at the end of a whole one may be
shorter than its header says."""
_LEAST_MISSING_S = 0.5
_MARGINS = 1_000_000
"""Pixels of a decoder's buffers beyond those of a frame."""


class UnreadableVideo(Exception):
    """A video cannot be read. The text is a sentence for callers, without its subject."""


@dataclass(frozen=True, slots=True)
class VideoStream:
    """An open video, before its frames are decoded."""

    container: Any
    video: Any
    rate: float
    """Frames a second, as announced; 25 where nothing is."""
    announced_frames: int
    """0 where the file does not say."""
    announced_s: float
    """0.0 where the file does not say."""

    def frames(self) -> Iterator[av.VideoFrame]:
        """Its frames in the order in which they are shown. Raises UnreadableVideo for a damaged or truncated video."""
        import av

        count, end_s, began_s = 0, 0.0, None
        try:
            for frame in self.container.decode(self.video):
                count += 1
                if frame.time is not None:
                    began_s = frame.time if began_s is None else began_s
                    end_s = frame.time - began_s + 1.0 / self.rate
                yield frame
        except av.error.FFmpegError:
            where = f" after frame {count:,}" if count else ""
            raise UnreadableVideo(f"is damaged or truncated: it cannot be decoded{where}") from None
        if not count:
            raise UnreadableVideo("has no frames; expected at least one")
        if end_s < self.announced_s * _LEAST_SHARE - _LEAST_MISSING_S:
            raise UnreadableVideo(
                f"is truncated: its header says {self.announced_s:.1f} s, and {end_s:.1f} s can be decoded"
            )


class OpenVideo:
    """Opens a video: `with OpenVideo(data, max_pixels) as stream`."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        """`max_pixels`: of a frame."""
        self._data, self._max_pixels = data, max_pixels
        self._container: Any = None

    def __enter__(self) -> VideoStream:
        """Reads the header. Raises UnreadableVideo, and NotReady where no package here reads videos."""
        try:
            import av  # takes 0.1 s, and videos alone need it
        except ModuleNotFoundError:
            raise NotReady(NO_READER) from None
        form = container_of(self._data)
        try:
            self._container = container = av.open(io.BytesIO(self._data), format=form, metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError):
            raise UnreadableVideo("is damaged or truncated: its header cannot be read") from None
        try:
            return self._stream(container)
        except BaseException:
            container.close()
            raise

    def _stream(self, container: Any) -> VideoStream:
        videos = [one for one in container.streams.video if not one.disposition & _cover()]
        if not videos and not container.streams.audio:
            raise UnreadableVideo("is damaged or truncated: its header names no video")
        if not videos:
            raise UnreadableVideo(f"holds no video; {EXPECTED}")
        video = videos[0]
        context = video.codec_context
        if context is None or context.codec.name not in CODECS:
            raise UnreadableVideo(
                "has a codec that is not read; expected H.264, H.265, VP8, VP9, AV1 or MPEG-1, -2 or -4"
            )
        if context.width * context.height > self._max_pixels:
            raise UnreadableVideo(too_large(context.width, context.height, self._max_pixels))
        # For streams that are larger than their container says. Decoders hold it against their buffers, which have margins.
        context.options = {"max_pixels": str(4 * self._max_pixels + _MARGINS)}
        context.thread_count = 1  # the pool has the threads
        rate = float(video.average_rate or video.guessed_rate or 25)
        length = float(video.duration * video.time_base) if video.duration and video.time_base else 0.0
        if not length and container.duration and len(container.streams) == 1:
            length = container.duration / 1e6
        return VideoStream(container, video, rate if rate > 0 else 25.0, max(0, video.frames), length)

    def __exit__(self, *exception: object) -> None:
        """Closes it."""
        self._container.close()


def container_of(data: bytes) -> str:
    """The name of FFmpeg's reader for a file, by its first bytes. Raises UnreadableVideo for a file that is no video."""
    if not data:
        raise UnreadableVideo(f"is empty; {EXPECTED}")
    if data[4:8] in _ATOMS:
        if data[4:8] == b"ftyp" and data[8:12] in PHOTO_BRANDS:
            raise UnreadableVideo(f"{EXPECTED}, got a picture")
        return "mov"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    if len(data) > _TS_PACKET and data[0] == data[_TS_PACKET] == _TS_SYNC:
        return "mpegts"
    from service.datasets.readers.file_types import media_type_of

    kind = media_type_of(data[:12])
    raise UnreadableVideo(f"{EXPECTED}, got a {kind}" if kind else EXPECTED)


def too_large(width: int, height: int, max_pixels: int) -> str:
    """The sentence about frames with too many pixels."""
    return f"expected at most {max_pixels:,} pixels a frame, got {width:,} × {height:,}"


def scaled(frame: av.VideoFrame, width: int, height: int) -> Any:
    """A frame as RGB uint8 `[height, width, 3]`, upright, in another size: bicubic, as the command ffmpeg scales."""
    import numpy as np

    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    size = (height, width) if turns % 2 else (width, height)
    pixels = frame.reformat(width=size[0], height=size[1], format="rgb24", interpolation="BICUBIC").to_ndarray()
    return np.rot90(pixels, turns) if turns else pixels


def _cover() -> Any:
    """The mark of a picture in the file of a sound."""
    from av.stream import Disposition

    return Disposition.attached_pic
