"""A contact sheet has a frame of each shot, and only of the video that was sent."""

from __future__ import annotations

import numpy as np
import pytest

from service.cli.rendering import contact_sheet as module
from service.cli.rendering.contact_sheet import NotTheVideo, clock, contact_sheet
from service.client import Shot, Shots, Timing
from tests.support.tasks.videos import colour, video


def answer(*lengths: int) -> Shots:
    ends = np.cumsum(lengths).tolist()
    shots = tuple(Shot(end - n, end - 1, (end - n) / 25, end / 25, 0.9) for n, end in zip(lengths, ends, strict=True))
    common = {"model": "m", "version": 1, "timing": Timing()}
    return Shots(
        **common, shots=shots, frame_count=ends[-1], duration_s=ends[-1] / 25, probabilities=np.zeros(ends[-1])
    )


def test_middle_frame_of_each_shot_is_shown_in_order() -> None:
    sheet = np.asarray(contact_sheet(video(6, 4, 5), answer(6, 4, 5)))
    assert sheet.shape == (2 * (135 + 20 + 8) + 8, 2 * (240 + 8) + 8, 3)
    for shot, (x, y) in enumerate([(100, 60), (350, 60), (100, 230)]):
        np.testing.assert_allclose(sheet[y, x], colour(shot), atol=12)


def test_shots_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SHOTS", 1)
    whole = contact_sheet(video(6), answer(6))
    assert contact_sheet(video(6, 4), answer(6, 4)).height == whole.height + 20


def test_another_video_is_refused() -> None:
    with pytest.raises(NotTheVideo, match="not the video that was sent: that one has 40 frames"):
        contact_sheet(video(6), answer(20, 20))
    with pytest.raises(NotTheVideo, match="the video is empty"):
        contact_sheet(b"", answer(6))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0:00.00"), (62.484, "1:02.48"), (59.999, "1:00.00"), (3661.5, "1:01:01.50")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
