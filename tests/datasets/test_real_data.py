"""Real data: Tux Paint stamps, fortunes, and the tables of scikit-learn."""

import os
from pathlib import Path

import pytest
from sklearn.datasets import load_diabetes, load_digits, load_wine

from service.datasets.dataset import DatasetKind
from service.datasets.splits import split_examples
from tests.support.datasets.dataset_files import (
    lines,
    read,
    tarred,
    zipped,
)

STAMPS = Path("/usr/share/tuxpaint/stamps")
FORTUNES = Path("/usr/share/games/fortunes")


def there(place: Path, package: str) -> Path:
    if not place.is_dir():
        reason = f"{place} is missing; the apt package {package} brings it"
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return place


@pytest.mark.component
def test_tux_paint_stamps_are_read_as_images(tmp_path: Path) -> None:
    root = there(STAMPS, "tuxpaint-stamps-default")
    photos = {
        f"{kind}/{path.relative_to(root / kind)}": path.read_bytes()
        for kind in ("animals", "food", "plants")
        for path in sorted((root / kind).rglob("*.png"))[:40]
    }
    rest = {f"{path.relative_to(root)}": path.read_bytes() for path in sorted((root / "animals").rglob("*.txt"))[:5]}
    examples = read(tmp_path, "stamps.tar.gz", tarred(photos | rest))
    assert examples.info.kind is DatasetKind.IMAGE_FOLDER
    assert examples.info.labels == ("animals", "food", "plants")
    report = examples.info.report
    assert (report.examples, report.skipped_count, report.input_count) == (len(photos), 5, len(photos) + 5)
    assert report.skipped_reasons == {"is no picture (.txt)": 5}
    assert "passed over 5 files without a picture: .txt 5" in report.warnings
    held_out = split_examples(examples, 0)["test"]
    assert {examples[i].target for i in held_out} == {0, 1, 2}


@pytest.mark.component
def test_fortunes_are_read_as_texts_by_topic(tmp_path: Path) -> None:
    root = there(FORTUNES, "fortunes")
    topics = [name for name in ("computers", "science", "food", "sports", "law") if (root / name).is_file()]
    rows = [
        {"text": fortune.strip(), "label": topic}
        for topic in topics
        for fortune in (root / topic).read_text("utf-8", "replace").split("\n%\n")
        if fortune.strip()
    ]
    examples = read(tmp_path, "fortunes.jsonl", lines(rows))
    assert examples.info.kind is DatasetKind.TEXT
    assert examples.info.labels == tuple(sorted(topics))
    assert examples.info.report.examples == len(rows)
    book = read(tmp_path, "all.zip", zipped({f"{t}.txt": (root / t).read_bytes() for t in topics}))
    assert book.info.kind is DatasetKind.PLAIN_TEXT


def test_scikit_learn_tables_are_read(tmp_path: Path) -> None:
    wine = read(tmp_path, "wine.csv", load_wine(as_frame=True).frame.to_csv(index=False).encode())
    assert (wine.info.kind, wine.info.labels) == (DatasetKind.TABLE, ("0", "1", "2"))
    assert wine.info.report.class_counts == {"0": 59, "1": 71, "2": 48}
    assert all(column.kind == "number" for column in wine.info.inputs)

    diabetes = read(tmp_path, "diabetes.csv", load_diabetes(as_frame=True).frame.to_csv(index=False).encode())
    assert (diabetes.info.kind, diabetes.info.labels, len(diabetes)) == (DatasetKind.TABLE, (), 442)
    assert diabetes.info.report.target_statistics["mean"] == pytest.approx(152.13, abs=0.01)

    digits = read(tmp_path, "digits.csv", load_digits(as_frame=True).frame.to_csv(index=False).encode())
    assert digits.info.labels == tuple("0123456789")
    row = digits[0].instance.cells  # type: ignore[union-attr]
    assert list(row.values()) == load_digits().data[0].tolist()
    parts = split_examples(digits, 0)
    assert sum(map(len, parts.values())) == 1797
