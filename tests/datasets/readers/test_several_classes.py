"""A target of several classes is read from lists, and from cells with a separator."""

from pathlib import Path
from typing import Any

import pytest

from service.datasets.dataset import DatasetKind
from service.datasets.splits import split_examples
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import lines, picture, read, zipped

TAGS = [["new", "old"], ["old"], [], ["new", "red"]]
ROWS = [{"text": f"it is the {i}th time", "tags": TAGS[i % 4]} for i in range(40)]
CSV = "text,tags\n" + "".join(f"it is the {i}th time,{'|'.join(TAGS[i % 4]) or '|'}\n" for i in range(40))


def test_lists_of_jsonl_and_cells_of_csv_give_the_same_examples(tmp_path: Path) -> None:
    by_list = read(tmp_path, "a.jsonl", lines(ROWS), target="tags")
    by_cell = read(tmp_path, "a.csv", CSV.encode(), target="tags", label_separator="|")
    for examples in (by_list, by_cell):
        info = examples.info
        assert (info.kind, info.labels, info.multi_label) == (DatasetKind.TEXT, ("new", "old", "red"), True)
        assert info.report.class_counts == {"new": 20, "old": 20, "red": 10}
        assert [examples[i].target for i in range(4)] == [(0, 1), (1,), (), (0, 2)]
        assert examples.outline().targets[:4].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]]


def test_cell_with_a_separator_is_one_class_unless_the_separator_is_named(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", CSV.replace(",|", ",none").encode(), target="tags").info
    assert (info.multi_label, info.labels) == (False, ("new|old", "new|red", "none", "old"))


def test_empty_cell_is_missing_and_a_list_of_lists_is_refused_for_its_row(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [dict(row) for row in ROWS]
    rows[0]["tags"], rows[1]["tags"], rows[2]["tags"] = None, [["old"]], ["old", ""]
    report = read(tmp_path, "a.jsonl", lines(rows), target="tags").info.report
    assert [(skipped.row, skipped.reason) for skipped in report.skipped] == [
        (1, "the target is empty"),
        (2, "class 1 of the target is a list or object; expected a text or number"),
        (3, "class 2 of the target is empty"),
    ]


def test_class_of_one_example_is_left_out_with_a_warning(tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "a single one", "tags": ["old", "rare"]}]
    examples = read(tmp_path, "a.jsonl", lines(rows), target="tags")
    assert examples.info.labels == ("new", "old", "red")
    assert examples[40].target == (1,)
    assert "classes of one example, which were left out: 'rare'" in examples.info.report.warnings


def test_every_part_has_examples_of_a_rare_class(tmp_path: Path) -> None:
    rows = [*ROWS, *({"text": f"rare {i}", "tags": ["old", "rare"]} for i in range(6))]
    examples = read(tmp_path, "a.jsonl", lines(rows), target="tags")
    rare = examples.info.labels.index("rare")
    parts = split_examples(examples, 3)
    assert all(any(rare in (examples[i].target or ()) for i in part) for part in parts.values())  # type: ignore[operator]
    assert split_examples(examples, 4)["test"] == parts["test"]


def test_table_that_names_pictures_gives_them_several_classes(tmp_path: Path) -> None:
    files: dict[str, Any] = {f"photos/{i}.png": picture(i) for i in range(12)}
    table = "file,tags\n" + "".join(f"photos/{i}.png,{('a;b', 'b', 'a')[i % 3]}\n" for i in range(12))
    examples = read(tmp_path, "a.zip", zipped({**files, "labels.csv": table}), label_separator=";", target="tags")
    assert (examples.info.kind, examples.info.multi_label) == (DatasetKind.IMAGE_FOLDER, True)
    assert [examples[i].target for i in range(3)] == [(0, 1), (1,), (0,)]


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        (
            {"kind": DatasetKind.TABLE, "label_separator": "|"},
            "header.columns.label_separator: a separator of classes was",
        ),
        (
            {"kind": DatasetKind.TEXT, "task": "regression", "label_separator": "|"},
            "header.columns.label_separator: a sep",
        ),
    ],
)
def test_several_classes_of_data_that_do_not_have_them_are_refused(
    tmp_path: Path, how: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.csv", CSV.encode(), target="tags", **how)
    assert caught.value.message.startswith(problem)


def test_single_class_alone_is_refused(tmp_path: Path) -> None:
    rows = [{"text": f"it is the {i}th time", "tags": ["old"] if i % 2 else []} for i in range(20)]
    with pytest.raises(InvalidInput, match="class 'old' alone has at least 2 examples, and at least two classes are"):
        read(tmp_path, "a.jsonl", lines(rows), target="tags")


def test_class_without_a_list_is_a_list_of_one(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"it is the {i}th time", "tags": ("new", ["new", "old"])[i % 4 == 0]} for i in range(40)
    ]
    examples = read(tmp_path, "a.jsonl", lines(rows), target="tags")
    assert (examples.info.multi_label, examples.info.report.skipped_count) == (True, 0)
    assert [examples[i].target for i in range(2)] == [(0, 1), (0,)]


PICTURES: dict[str, Any] = {f"photos/{i}.png": picture(i) for i in range(12)}
NAMED = [{"file": f"photos/{i}.png", "tags": [["a", "b"], ["b"], ["a"]][i % 3], "year": 1900 + i} for i in range(12)]


def test_pictures_with_several_classes_and_more_columns_learn_the_classes(tmp_path: Path) -> None:
    files = {**PICTURES, "labels.jsonl": lines(NAMED)}
    examples = read(tmp_path, "a.zip", zipped(files), target="tags")
    assert (examples.info.kind, examples.info.multi_label) == (DatasetKind.IMAGE_FOLDER, True)
    assert any(
        "several classes are learned of pictures alone, without 'year'" in line
        for line in examples.info.report.inferred
    )
    with pytest.raises(InvalidInput, match=r"^header.kind: 'tags' holds several classes, .* use kind image_folder"):
        read(tmp_path, "b.zip", zipped(files), target="tags", kind=DatasetKind.IMAGE_TABLE)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", zipped({f"{label}/{i}.png": picture(i) for i in range(4) for label in "ab"})),
        ("a.zip", zipped({f"{label}/{i}.txt": f"text {i} {label}" for i in range(4) for label in "ab"})),
        ("a.zip", zipped({f"{i}.txt": f"text {i}" for i in range(4)})),
        ("a.txt", b"one long text " * 100),
        ("a.csv", b"date,value\n" + b"".join(b"2024-01-%02d,%d\n" % (day, day) for day in range(1, 29))),
    ],
)
def test_separator_that_would_be_ignored_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(
        InvalidInput, match=r"^header.columns.label_separator: a separator stands between the classes of"
    ):
        read(tmp_path, name, data, label_separator="|")
