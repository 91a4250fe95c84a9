"""Copies of pictures with boxes and masks: no existing file is changed, and a copy is whole or absent."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from model_zoo.golden.golden_case import golden_path
from service.cli.rendering.drawing import CannotDraw, Drawing, colour_of
from service.client import (
    Box,
    Classification,
    DetectedObject,
    Detections,
    Label,
    NoteEvents,
    PredictionError,
    Segmentation,
    SegmentedClass,
    SegmentedRegion,
    TransformedImage,
    VolumeSegmentation,
)
from service.types import Timing

SIZE = (64, 48)


CAT = Label(0, "cat", 0.9)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "grey.jpg"
    path.parent.mkdir()
    Image.new("RGB", SIZE, (90, 90, 90)).save(path)
    return path


def detections(*boxes: Box, width: int = SIZE[0], height: int = SIZE[1]) -> Detections:
    objects = tuple(DetectedObject(i, f"class {i}", 0.9, box) for i, box in enumerate(boxes))
    return Detections(model="m", version=1, timing=Timing(), objects=objects, width=width, height=height)


def segmentation(classes: np.ndarray) -> Segmentation:
    written = io.BytesIO()
    Image.fromarray(classes).save(written, "PNG")
    parts = tuple(SegmentedClass(int(i), f"class {i}", float((classes == i).mean())) for i in np.unique(classes))
    return Segmentation(
        model="m", version=1, timing=Timing(), classes=parts, mask=written.getvalue(), width=SIZE[0], height=SIZE[1]
    )


def pixels(path: Path | None) -> np.ndarray:
    assert path is not None
    return np.asarray(Image.open(path))


def test_box_is_drawn_in_the_colour_of_its_class(tmp_path: Path, picture: Path) -> None:
    drawn = Drawing(tmp_path / "out").draw("in/grey.jpg", picture, detections(Box(8, 20, 50, 40)))
    assert drawn == tmp_path / "out" / "grey-drawn.png"
    found = pixels(drawn)
    assert found.shape == (SIZE[1], SIZE[0], 3)
    assert tuple(found[40, 30]) == colour_of(0)
    assert tuple(found[30, 50]) == colour_of(0)
    assert abs(int(found[30, 30, 0]) - 90) < 4, "inside it is the picture"


@pytest.mark.parametrize(
    "box",
    [Box(-50, -50, 200, 200), Box(60, 44, 90, 90), Box(30, 30, 30, 30), Box(0, 0, 64, 48), Box(100, 100, 200, 200)],
)
def test_box_at_or_beyond_the_edge_is_drawn_as_far_as_it_is_inside(tmp_path: Path, picture: Path, box: Box) -> None:
    drawn = Drawing(tmp_path / "out").draw("grey.jpg", picture, detections(box))
    assert pixels(drawn).shape == (SIZE[1], SIZE[0], 3)


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_mask_tints_each_pixel_in_the_colour_of_its_class(tmp_path: Path, picture: Path, bits: type) -> None:
    classes = np.zeros((SIZE[1], SIZE[0]), bits)
    classes[:, 40:] = 7
    found = pixels(Drawing(tmp_path / "out").draw("grey.jpg", picture, segmentation(classes))).astype(int)
    for x, index in ((39, 0), (60, 7)):
        expected = [(90 + part) / 2 for part in colour_of(index)]
        assert np.abs(found[45, x] - expected).max() < 4


def test_existing_files_are_never_changed(tmp_path: Path, picture: Path) -> None:
    folder = picture.parent
    (folder / "grey-drawn.png").write_bytes(b"mine")
    before = picture.read_bytes()
    first = Drawing(folder).draw("grey.jpg", picture, detections())
    second = Drawing(folder).draw("other/grey.png", picture, detections())
    assert [path.name for path in (first, second) if path] == ["grey-drawn-2.png", "grey-drawn-3.png"]
    assert (folder / "grey-drawn.png").read_bytes() == b"mine"
    assert picture.read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_picture_from_standard_input_has_a_name(tmp_path: Path, picture: Path) -> None:
    drawn = Drawing(tmp_path / "out").draw("-", picture.read_bytes(), detections())
    assert drawn is not None
    assert drawn.name == "stdin-drawn.png"


def test_failed_input_is_not_drawn(tmp_path: Path, picture: Path) -> None:
    drawing = Drawing(tmp_path / "out")
    error = PredictionError("no photo", code="INVALID_ARGUMENT", reason="INVALID_INPUT")
    assert drawing.draw("grey.jpg", picture, error) is None
    assert drawing.count == 0


def test_what_cannot_be_drawn_is_said_in_a_sentence(tmp_path: Path, picture: Path) -> None:
    drawing = Drawing(tmp_path / "out")
    cases = [
        (picture, detections(width=10), "is not the picture that was sent"),
        (b"no picture", detections(), "cannot be read again"),
        (picture.parent / "none.jpg", detections(), "cannot be read again"),
        (
            picture,
            Classification(model="m", version=1, timing=Timing(), labels=(CAT,)),
            "Classification cannot be drawn",
        ),
        (picture, segmentation(np.zeros((2, 2), np.uint8)), "another size"),
    ]
    for source, answer, words in cases:
        with pytest.raises(CannotDraw, match=words):
            drawing.draw("grey.jpg", source, answer)
    assert not list((tmp_path / "out").iterdir())


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path, picture: Path) -> None:
    with pytest.raises(CannotDraw, match="cannot be made: file exists"):
        Drawing(picture)


def test_image_of_an_answer_is_written_as_it_is_under_the_name_of_the_model(tmp_path: Path) -> None:
    answer = TransformedImage(model="image_filter", version=1, timing=Timing(), image=b"png", width=64, height=48)
    drawing = Drawing(tmp_path / "out")
    for name in ("photo-image_filter.png", "photo-image_filter-2.png"):
        assert drawing.draw("in/photo.jpg", b"not read", answer) == tmp_path / "out" / name
        assert (tmp_path / "out" / name).read_bytes() == b"png"
    assert drawing.count == 2


def test_slices_of_a_volume_show_the_outline_of_its_mask(tmp_path: Path) -> None:
    head = golden_path("head.nii.gz")
    image: Any = nibabel.load(head)  # type: ignore[no-untyped-call]
    inside = np.zeros(image.shape, np.uint8)
    inside[10:30, 10:30, 10:30] = 1
    mask: Any = nibabel.Nifti1Image(inside, image.affine)  # type: ignore[no-untyped-call]
    region = SegmentedRegion(1, "brain", 8000, 512.0, (10, 10, 10), (30, 30, 30))
    answer = VolumeSegmentation(
        model="m", version=1, timing=Timing(), regions=(region,), mask=gzip.compress(mask.to_bytes()), shape=image.shape
    )
    drawing = Drawing(tmp_path / "out")
    drawn = drawing.draw("in/head.nii.gz", head, answer)
    assert drawn == tmp_path / "out" / "head-drawn.png"
    assert (tmp_path / "out" / "head-mask.nii.gz").read_bytes() == answer.mask
    with Image.open(drawn) as picture:
        shown = np.asarray(picture).astype(int)
    red = (shown[..., 0] - shown[..., 1]) > 100
    side = round(20 * 320 / 48)
    assert abs(int(red.sum()) - 3 * 4 * side) < 60  # three squares
    with pytest.raises(CannotDraw, match="cannot be read again"):
        drawing.draw("head.nii.gz", b"other bytes", answer)


def test_notes_are_a_roll_with_a_midi_file_of_the_same_name(tmp_path: Path) -> None:
    answer = NoteEvents(model="m", version=1, timing=Timing(), events=(), duration_s=1.0)
    drawing = Drawing(tmp_path / "out")
    for stem in ("song-notes", "song-notes-2"):
        assert drawing.draw("in/song.wav", b"not read", answer) == tmp_path / "out" / f"{stem}.png"
        assert (tmp_path / "out" / f"{stem}.mid").read_bytes() == answer.midi
    assert (drawing.count, drawing.beside) == (2, ", and 2 × *.mid")
