"""What is a video, and what is refused, in which words."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from model_zoo.golden.golden_case import golden_path
from service.errors import NotReady
from service.tasks.video.video_frames import OpenVideo, UnreadableVideo, scaled
from tests.support.tasks.videos import colour, sound_in_mp4, video, without_frames

WHOLE = video(6, 4)
WEBM = video(30, 30, codec="libvpx", form="webm")


def frames(data: bytes, max_pixels: int = 10_000) -> list[np.ndarray]:
    with OpenVideo(data, max_pixels) as stream:
        return [scaled(frame, 8, 4) for frame in stream.frames()]


@pytest.mark.parametrize(
    "data",
    [WHOLE, video(6, 4, form="avi"), video(6, 4, form="matroska"), video(6, 4, form="mpegts", codec="mpeg2video")],
)
def test_frames_of_each_container_come_in_order(data: bytes) -> None:
    found = frames(data)
    assert len(found) == 10
    for i in (0, 9):
        assert found[i].shape == (4, 8, 3)
        np.testing.assert_allclose(found[i].mean((0, 1)), colour(i // 6), atol=8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty; expected an MP4"),
        (b"no video at all", "expected an MP4"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "expected an MP4"),
        (golden_path("speech.flac").read_bytes(), "got a sound"),
        (golden_path("cat.jpg").read_bytes(), "got a picture"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "got a picture"),
        (sound_in_mp4(), "holds no video"),
        (without_frames(), "has no frames"),
        (WHOLE[:400], "damaged or truncated"),
        (WHOLE[: len(WHOLE) // 2], "damaged or truncated"),
        (WEBM[: len(WEBM) // 2], "is truncated: its header says 2.4 s"),
        (video(2, size=(128, 96)), "expected at most 10,000 pixels a frame, got 128 × 96"),
        (video(2, codec="ffv1", form="matroska"), "has a codec that is not read"),
    ],
)
def test_anything_else_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableVideo, match=words):
        frames(data)


def test_frames_that_the_header_does_not_announce_are_not_decoded_where_they_are_too_large() -> None:
    data = bytearray(video(2, size=(128, 96)))
    for width in (i for i in range(len(data) - 4) if data[i : i + 4] == b"\0\x80\0\x60"):
        data[width : width + 4] = b"\0\x40\0\x20"  # of the table of the container; the stream itself says 128 × 96
    with pytest.raises(UnreadableVideo):
        frames(bytes(data))


def test_machine_without_the_reader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NotReady, match=r"pip install 'zoo-serving\[video\]'"), OpenVideo(b"", 100):
        pass
