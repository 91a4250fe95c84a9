"""Answers of images as `zoo predict` prints them."""

from __future__ import annotations

import numpy as np
import pytest

from service.cli.rendering.predictions import as_json, print_answers
from service.client import (
    Box,
    DetectedObject,
    Detections,
    Keypoint,
    Keypoints,
    NoteEvent,
    NoteEvents,
    Segmentation,
    SegmentedClass,
    Shot,
    Shots,
    TransformedImage,
)
from service.types import Timing

OBJECTS = (DetectedObject(1, "cat", 0.875, Box(-2.0, 3.5, 40.25, 60.0)), DetectedObject(2, "cup", 0.5, Box(0, 0, 9, 9)))


def detections(*objects: DetectedObject) -> Detections:
    return Detections(model="m", version=1, timing=Timing(), objects=objects, width=64, height=48)


def test_objects_are_a_line_each_with_score_and_corners(capsys: pytest.CaptureFixture[str]) -> None:
    print_answers([("a.jpg", detections(*OBJECTS)), ("b.jpg", detections())], timing=False)
    printed = capsys.readouterr().out
    assert "cat at (-2, 4) to (40, 60)" in printed
    assert "0.875" in printed
    assert "no object reaches the threshold" in printed


def test_json_of_objects_has_every_field() -> None:
    line = as_json("a.jpg", detections(OBJECTS[0]), timing=False)
    box = {"xmin": -2.0, "ymin": 3.5, "xmax": 40.25, "ymax": 60.0}
    assert line["objects"] == [{"index": 1, "name": "cat", "score": 0.875, "box": box}]
    assert line["image"] == {"width": 64, "height": 48}


def test_points_are_a_line_each_and_json_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    found, none = (
        Keypoints(model="m", version=1, timing=Timing(), points=points, width=64, height=48)
        for points in ((Keypoint(9, "left_wrist", -1.5, 30.25, 0.75),), ())
    )
    print_answers([("a.jpg", found), ("b.jpg", none)], timing=False)
    printed = capsys.readouterr().out
    assert "left_wrist at (-2, 30)" in printed
    assert "0.750" in printed
    assert "no point reaches the threshold" in printed
    line = as_json("a.jpg", found, timing=False)
    assert line["keypoints"] == [{"index": 9, "name": "left_wrist", "x": -1.5, "y": 30.25, "score": 0.75}]
    assert line["image"] == {"width": 64, "height": 48}


def test_classes_of_a_mask_are_a_line_each_and_json_has_the_mask(capsys: pytest.CaptureFixture[str]) -> None:
    parts = (SegmentedClass(3, "wall", 0.75), SegmentedClass(0, "sky", 0.25))
    answer = Segmentation(model="m", version=1, timing=Timing(), classes=parts, mask=b"png", width=64, height=48)
    print_answers([("a.jpg", answer)], timing=False)
    assert "wall on 75.0% of the image" in capsys.readouterr().out
    line = as_json("a.jpg", answer, timing=False)
    assert line["classes"][1] == {"index": 0, "name": "sky", "share": 0.25}
    assert line["mask_png"] == "cG5n"


def test_shots_are_a_line_each_and_json_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    shots = (Shot(0, 1249, 0.0, 50.0, 0.75), Shot(1250, 1499, 50.0, 60.0))
    answer = Shots(
        model="m", version=1, timing=Timing(), shots=shots, frame_count=1500, duration_s=60.0, probabilities=np.zeros(2)
    )
    print_answers([("a.mp4", answer)], timing=False)
    out = capsys.readouterr().out
    assert "0.00 to 50.00 s, frames 0 to 1,249" in out
    assert "0.750" in out
    line = as_json("a.mp4", answer, timing=False)
    assert line["shots"][1] == {
        "start_frame": 1250,
        "end_frame": 1499,
        "start_s": 50.0,
        "end_s": 60.0,
        "cut_score": None,
    }
    assert (line["frames"], line["duration_s"]) == (1500, 60.0)


def test_image_is_a_line_of_its_size_and_json_has_its_png(capsys: pytest.CaptureFixture[str]) -> None:
    answer = TransformedImage(model="m", version=1, timing=Timing(), image=b"png", width=64, height=48)
    print_answers([("a.jpg", answer)], timing=False)
    assert "an image of 64 × 48 pixels; --draw DIR saves it" in capsys.readouterr().out
    print_answers([("a.jpg", answer)], timing=False, drawn=True)
    assert "--draw" not in capsys.readouterr().out
    line = as_json("a.jpg", answer, timing=False)
    assert line["image"] == {"width": 64, "height": 48}
    assert line["image_png"] == "cG5n"


def test_notes_are_a_line_each_and_silence_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    events = (NoteEvent(0.25, 1.5, 70, "A#4", 0.5, 64),)
    music = NoteEvents(model="m", version=1, timing=Timing(), events=events, duration_s=2.0)
    silence = NoteEvents(model="m", version=1, timing=Timing(), events=(), duration_s=0.5)
    print_answers([("a.wav", music), ("b.wav", silence)], timing=False)
    shown = capsys.readouterr().out
    assert "0.25 to 1.50 s  A#4  0.500" in shown
    assert "no notes in 0.50 s" in shown
    line = as_json("a.wav", music, timing=False)
    assert line["note_events"][0]["pitch"] == 70
    assert line["notes"] == {}
