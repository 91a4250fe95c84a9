"""Classes and ids are distinguished by their full spelling, and the report names what is merged."""

import json
from pathlib import Path

import pytest

from service.datasets.dataset import DatasetInfo
from tests.support.datasets.dataset_files import lines, read

LARGE = 2**60


def csv_of(labels: list[object], count: int = 60, first: list[object] | None = None) -> bytes:
    xs = first or list(range(count))
    return ("x,label\n" + "".join(f"{xs[i % len(xs)]},{labels[i % len(labels)]}\n" for i in range(count))).encode()


def task(info: DatasetInfo) -> str:
    return next(line for line in info.report.inferred if line.startswith("task: "))


def said(info: DatasetInfo) -> str:
    return "\n".join((*info.report.inferred, *info.report.warnings))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_whole_numbers_beyond_doubles_are_different_classes(tmp_path: Path, form: str) -> None:
    labels: list[object] = [LARGE, LARGE + 1, LARGE + 2]
    rows = lines([{"x": i, "label": labels[i % 3]} for i in range(60)])
    info = read(tmp_path, f"a.{form}", csv_of(labels) if form == "csv" else rows).info
    assert info.labels == tuple(map(str, labels))
    assert "'label' holds 3 different whole numbers" in task(info)
    assert info.report.warnings == ()


def test_thirty_repeated_ids_are_thirty_classes(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", csv_of([LARGE + i for i in range(30)], 300)).info
    assert len(info.labels) == 30
    assert "30 different whole numbers, some of which differ only beyond 16 digits" in task(info)


def test_merged_numbers_in_target_or_input_are_reported(tmp_path: Path) -> None:
    target = read(tmp_path, "a.csv", csv_of([LARGE + i for i in range(300)], 300)).info
    assert "'label' holds 300 different whole numbers, more than 20" in task(target)
    assert "numbers of 'label': read to 16 digits, because some differ only in later digits" in said(target)
    inputs = read(tmp_path, "b.csv", csv_of(["a", "b"], first=[LARGE + i for i in range(60)])).info
    assert "column 'x' holds whole numbers that differ only beyond 16 digits" in said(inputs)


def test_numbers_that_doubles_distinguish_are_not_reported(tmp_path: Path) -> None:
    wide = [10**15 + i for i in range(60)]
    assert "16 digits" not in said(read(tmp_path, "a.csv", csv_of(["a", "b"], first=list(wide))).info)
    assert "16 digits" not in said(read(tmp_path, "b.csv", csv_of(["a", "b"], first=[i / 7 for i in range(60)])).info)


def test_digit_classes_are_counted_by_their_spelling(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", csv_of(["01234", "1234", "00501"])).info
    assert info.labels == ("00501", "01234", "1234")
    assert "'label' holds 3 different whole numbers" in task(info)
    assert "classes that are the same number, written differently: '01234', '1234'" in info.report.warnings


@pytest.mark.parametrize(("yes", "no"), [("TRUE", "FALSE"), ("True", "False"), ("true", "false"), ("TRUE", "other")])
def test_truth_values_with_one_spelling_keep_it(tmp_path: Path, yes: str, no: str) -> None:
    info = read(tmp_path, "a.csv", csv_of([yes, no])).info
    assert info.labels == tuple(sorted((yes, no)))
    assert "in several ways" not in said(info)


def test_truth_values_with_several_spellings_are_one_reported_class(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", csv_of(["TRUE", "True", "true", "False"])).info
    assert info.labels == ("false", "true")
    assert (
        "classes: called true and false, because 'label' writes them in several ways, 'TRUE', 'True', 'true'"
        in said(info)
    )


def test_truth_values_in_json_are_named_as_in_json(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"x": i, "label": i % 2 == 0}) + "\n" for i in range(40)).encode()
    assert read(tmp_path, "a.jsonl", rows).info.labels == ("false", "true")


def test_input_without_repeated_values_is_reported(tmp_path: Path) -> None:
    data = "plate,y,label\n" + "".join(f"K{i}-X,{i % 7},{'ab'[i % 2]}\n" for i in range(40))
    assert "column 'plate' is different in every row, and is used as a category" in said(
        read(tmp_path, "a.csv", data.encode()).info
    )


@pytest.mark.parametrize(("rows", "fate"), [(40, "is used as a category"), (400, "was left out")])
def test_numbers_with_an_unknown_unit_are_named(tmp_path: Path, rows: int, fate: str) -> None:
    data = "subs,y,label\n" + "".join(f"{i}.5K,{i % 7},{'ab'[i % 2]}\n" for i in range(rows))
    assert f"column 'subs' {fate}: its numbers have something beside them, such as '0.5K'" in said(
        read(tmp_path, "a.csv", data.encode()).info
    )


def test_numbers_all_in_parentheses_are_words_and_reported(tmp_path: Path) -> None:
    data = "a;y;label\n" + "".join(f"({i},5);{i % 7};{'ab'[i % 2]}\n" for i in range(40))
    info = read(tmp_path, "a.csv", data.encode()).info
    assert "numbers of 'a': none, '(0,5)' is a word, because each is in parentheses, as marks are" in said(info)
