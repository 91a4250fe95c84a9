"""Usable images and sounds become examples, others are named with a reason, and a served model gets the original bytes."""

import io
from pathlib import Path

import pytest
from PIL import Image

from service.errors import InvalidInput
from tests.support.datasets.dataset_files import (
    photos,
    picture,
    read,
    zipped,
)


def refusal(tmp_path: Path, files: dict[str, bytes], **how: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.zip", zipped(files), **how)  # type: ignore[arg-type]
    assert str(tmp_path) not in caught.value.message
    return caught.value


def test_bytes_named_jpg_are_skipped_with_a_reason(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"cat/x.jpg": b"0123456789", "dog/cut.jpg": picture(50, size=(90, 90))[:900]}
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert (report.examples, report.skipped_count) == (4, 2)
    assert [(s.file, s.row, s.reason) for s in report.skipped] == [
        ("cat/x.jpg", 0, "is no JPEG, PNG or WebP picture"),
        ("dog/cut.jpg", 0, "is a broken or cut off picture"),
    ]
    assert "left out 2 of 6 examples" in report.warnings


def test_archive_of_unreadable_images_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, {f"{c}/{i}.jpg": b"0123456789" for c in "ab" for i in range(3)})
    assert error.message == (
        "data: has no usable example; 6 left out, the first is 'a/0.jpg': is no JPEG, PNG or WebP picture"
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_supported_image_formats_are_accepted(tmp_path: Path, form: str) -> None:
    files = {f"{c}/{i}.{form.lower()}": picture(i + 10 * (c == "b"), form) for c in "ab" for i in range(2)}
    assert read(tmp_path, "a.zip", zipped(files)).info.report.examples == 4


def test_unsupported_image_formats_are_skipped(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"cat/x.gif": picture(9, "GIF"), "cat/y.bmp": picture(9, "BMP")}
    assert read(tmp_path, "a.zip", zipped(files)).info.report.skipped_count == 2


def test_huge_image_is_skipped_before_decoding(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    files = photos({"cat": 2, "dog": 2}) | {"cat/x.png": buffer.getvalue()}
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert skipped.reason == "is 20000 × 20000 pixels; at most 50000000 are taken"
