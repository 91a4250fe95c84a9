"""Pictures with masks are read as they lie; wrong masks leave their picture out by name, wrong names of classes are refused."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.datasets.dataset import MASK_IGNORED, ClassMask, DatasetKind
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import picture, read, zipped

NAMES = "ground\nwater\nunicorn\n"


def mask(*numbers: int, size: tuple[int, int] = (24, 16), mode: str = "L", form: str = "PNG") -> bytes:
    """Stripes of these classes from left to right."""
    pixels = np.array(numbers, np.uint8)[np.arange(size[0]) * len(numbers) // size[0]]
    image = Image.fromarray(np.tile(pixels, (size[1], 1)))
    written = io.BytesIO()
    image.convert(mode).save(written, form)
    return written.getvalue()


def archive(changes: dict[str, bytes | str | None], above: str = "") -> bytes:
    files: dict[str, bytes | str | None] = {"classes.txt": NAMES}
    for i in range(4):
        files[f"images/{above}{i}.jpg"] = picture(i)
        files[f"masks/{above}{i}.png"] = mask(0, 1) if i else mask(1, MASK_IGNORED)
    return zipped({name: content for name, content in (files | changes).items() if content is not None})


def test_masks_have_a_class_for_each_pixel(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.zip", archive({}))
    info = examples.info
    assert (info.kind, info.labels) == (DatasetKind.MASKS, ("ground", "water"))
    assert info.report.class_counts == {"ground": 3, "water": 4}
    assert (info.report.input_count, info.report.examples, info.report.skipped_count) == (4, 4, 0)
    assert examples[0].target == ClassMask(mask(1, MASK_IGNORED), {1: 1})
    assert examples[1].target == ClassMask(mask(0, 1), {0: 0, 1: 1})
    assert "classes without a pixel, which were left out: 'unicorn'" in info.report.warnings
    assert {path.name for path in (tmp_path / "staging-0" / "dataset" / "files" / "masks").iterdir()} == {
        f"{i}.png" for i in range(4)
    }


def test_numbers_are_names_where_no_file_names_them_and_folders_define_splits(tmp_path: Path) -> None:
    info = read(tmp_path, "a.zip", archive({"classes.txt": None}, above="train/")).info
    assert (info.labels, info.report.split_counts) == (("0", "1"), {"train": 4})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (mask(0, 1, size=(24, 15)), "its mask is 24 × 15 pixels, and the picture is 24 × 16 upright"),
        (mask(0, 9), "its mask has class 9, and 'classes.txt' names 0..2"),
        (mask(0, 1, mode="RGB"), "its mask is a picture in colours; expected a PNG with one number for each pixel"),
        (mask(0, 1, form="JPEG"), "its mask is a JPEG, which changes numbers; expected a PNG"),
        (mask(MASK_IGNORED), "its mask has no pixel with a class"),
        (mask(0, 1)[:50], "its mask is a broken or cut off picture"),
        (b"", "its mask is empty"),
        (None, "there is no mask for this picture"),
    ],
    ids=["size", "class", "colours", "jpeg", "ignored", "broken", "empty", "missing"],
)
def test_picture_with_a_wrong_mask_is_left_out_by_name(tmp_path: Path, given: bytes | None, reason: str) -> None:
    report = read(tmp_path, "a.zip", archive({"masks/3.png": given})).info.report
    assert [(one.file, one.reason) for one in report.skipped] == [("images/3.jpg", reason)]
    assert report.examples == 3


def test_mask_without_a_picture_is_reported(tmp_path: Path) -> None:
    report = read(tmp_path, "a.zip", archive({"masks/9.png": mask(0, 1)})).info.report
    assert [(one.file, one.reason) for one in report.skipped] == [("masks/9.png", "there is no picture for this mask")]
    assert report.input_count == report.examples + report.skipped_count


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes.txt": "ground\n\nwater\n"}, "'classes.txt': line 2, of class 1, is empty"),
        ({"classes.txt": "ground\nground\n"}, "line 2, of class 1, repeats the name 'ground'"),
        ({"classes.txt": b"gr\xffund\nwater\n"}, "'classes.txt' is not UTF-8"),
        ({f"masks/{i}.png": mask(1) for i in range(4)}, "class 'water' alone is in the masks of at least 2 pictures"),
    ],
)
def test_data_that_cannot_be_learned_are_refused(
    tmp_path: Path, changes: dict[str, bytes | str | None], problem: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.zip", archive(changes))
    assert problem in caught.value.problem
    assert str(tmp_path) not in caught.value.message


def test_kind_decides_for_an_archive_without_masks(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no picture below images/ with a PNG of the same name below masks/"):
        read(tmp_path, "a.zip", zipped({"images/1.jpg": picture(1)}), DatasetKind.MASKS)
    assert read(tmp_path, "b.zip", archive({}), DatasetKind.IMAGE_FOLDER).info.labels == ("images", "masks")
