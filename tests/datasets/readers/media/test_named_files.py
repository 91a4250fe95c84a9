"""Tables find files of an archive by path, by name or by id."""

from pathlib import Path

import pytest

from service.datasets.dataset import DatasetInfo
from tests.support.datasets.dataset_files import (
    lines,
    photos,
    picture,
    read,
    zipped,
)

CLASSES = ("cat", "dog")


def info_of(tmp_path: Path, files: dict[str, bytes] | dict[str, str], **how: object) -> DatasetInfo:
    return read(tmp_path, "a.zip", zipped(files), **how).info  # type: ignore[arg-type]


def table_of(cells: list[str], column: str = "id", target: str = "breed") -> str:
    return f"{column},{target}\n" + "".join(f"{cell},{('pug', 'beagle')[i % 2]}\n" for i, cell in enumerate(cells))


@pytest.mark.parametrize("column", ["id", "id_code", "image"])
@pytest.mark.parametrize("name", ["x{}", "{}", "0000{}", "a.b{}"])
def test_table_of_ids_finds_files_without_their_suffix(tmp_path: Path, name: str, column: str) -> None:
    files: dict[str, bytes | str] = {f"train/{name.format(i)}.png": picture(i, "PNG") for i in range(8)}
    files["train.csv"] = table_of([name.format(i) for i in range(8)], column, "diagnosis")
    for named in ({}, {"image": column}):
        info = read(tmp_path, "a.zip", zipped(files), **named).info
        assert (info.columns.image, info.labels) == (column, ("beagle", "pug"))
        assert (info.report.examples, info.report.skipped_count) == (8, 0)


def test_numbers_in_json_are_ids_of_files(tmp_path: Path) -> None:
    files: dict[str, bytes] = {f"p/{i}.png": picture(i, "PNG") for i in range(8)}
    files["t.jsonl"] = lines([{"id": i, "label": "ab"[int(i % 2)]} for i in (*range(8), 10**300, 0.5)])
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert (report.examples, report.skipped_count) == (8, 2)


def test_id_of_several_files_names_none(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"p/x{i}.png": picture(i, "PNG") for i in range(8)} | {"q/x0.jpg": picture(50)}
    files["train.csv"] = table_of([f"x{i}" for i in range(8)])
    report = read(tmp_path, "a.zip", zipped(files), image="id").info.report
    assert [s.reason for s in report.skipped][:1] == ["there are several files called 'x0'"]


def test_grades_are_not_taken_for_file_names(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = dict(photos({"cat": 12, "dog": 12}))
    files["notes.csv"] = "grade,who\n" + "".join(f"{i % 4},{'ab'[i % 2]}\n" for i in range(24))
    assert info_of(tmp_path, files).labels == CLASSES  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cell",
    [
        "/home/me/data/img/{}.jpg",
        "../input/data/img/{}.jpg",
        "C:\\data\\img\\{}.jpg",
        "https://example.org/a/img/{}.jpg?size=l#top",
        "gs://bucket/img/{}.jpg",
        "file:///home/me/img/{}.jpg",
        "https://example.org/img/{}.jpg",
        "elsewhere/{}.jpg",
    ],
)
def test_absolute_paths_are_matched_from_their_end(tmp_path: Path, cell: str) -> None:
    files: dict[str, bytes | str] = {f"img/n {i}.jpg": picture(i) for i in range(8)}
    files["labels.csv"] = table_of(
        [cell.format(f"n%20{i}" if "://" in cell else f"n {i}") for i in range(8)], "path", "label"
    )
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert (report.examples, report.skipped_count) == (8, 0)


def test_folder_at_the_end_of_a_path_distinguishes_files_of_one_name(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{c}/{i}.jpg": picture(i + 9 * k) for k, c in enumerate("ab") for i in range(4)}
    files["labels.csv"] = table_of([f"/data/{c}/{i}.jpg" for i in range(4) for c in "ab"], "path", "label")
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert (report.examples, report.skipped_count, report.duplicates) == (8, 0, 0)
