"""Validation infers what the caller did not say, and reports each fact with its reason; the caller's decisions win."""

from pathlib import Path
from typing import Any

import pytest

from service.datasets.dataset import DatasetInfo, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.overrides import BY_TARGET, overrides_for_task
from service.datasets.readers.inferred_facts import LONGEST_LINE, MOST_LINES, InferredFacts
from service.datasets.readers.parsed_example import TargetKind
from service.datasets.upload.header import check_header, dataset_id_of
from service.errors import InvalidInput
from service.training.compatibility import tasks
from tests.support.datasets.dataset_files import (
    header,
    lines,
    read,
    sentences,
    zipped,
)
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES
INT30 = (DATA / "int30.csv").read_bytes()


def refusal(tmp_path: Path, name: str, data: bytes, **how: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, name, data, **how)
    return caught.value


def prices(*, target: str = "price") -> bytes:
    rows = "".join(f"{i},{'ab'[i % 2]},{1000 + 7 * i}\n" for i in range(60))
    return f"km,fuel,{target}\n{rows}".encode()


def line(info: DatasetInfo, what: str) -> str:
    (found,) = [said for said in info.report.inferred if said.startswith(f"{what}: ")]
    return found


# ── what is said ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_whole_numbers_read_as_numbers_are_reported(tmp_path: Path) -> None:
    info = read(tmp_path, "int30.csv", INT30).info
    assert info.labels == ()
    assert line(info, "task") == (
        "task: regression, because 'label' holds 30 different whole numbers, more than 20; --task text-classification"
        " decides otherwise"
    )


def test_every_inferred_fact_of_a_table_is_reported_once(tmp_path: Path) -> None:
    info = read(tmp_path, "a.csv", prices(target="target")).info
    assert [said.partition(",")[0] for said in info.report.inferred] == [
        "kind: table",
        "target: target",
        "task: tabular-regression",
        "split: drawn by Zoo",
    ]
    assert all(", because " in said for said in info.report.inferred)


def test_facts_named_by_the_caller_are_not_inferred(tmp_path: Path) -> None:
    data = prices().replace(b"fuel", b"split").replace(b",a,", b",train,").replace(b",b,", b",test,")
    info = read(
        tmp_path, "a.csv", data, kind=DatasetKind.TABLE, task="tabular-regression", target="price", split="split"
    ).info
    assert info.report.inferred == ()


def test_split_column_is_reported_and_one_with_other_values_is_an_input(tmp_path: Path) -> None:
    known = [{**row, "split": ("train", "train", "dev", "test")[i % 4]} for i, row in enumerate(sentences(40))]
    info = read(tmp_path, "a.jsonl", lines(known)).info
    assert line(info, "split").startswith("split: split, because the column has this name")
    strange = [{"x": i / 7, "label": "ab"[i % 2], "split": ("left", "right")[i % 2]} for i in range(40)]
    info = read(tmp_path, "a.jsonl", lines(strange)).info
    assert "column 'split' holds 'left', 'right', and a split is train, validation or test" in line(info, "split")
    assert [column.name for column in info.inputs] == ["x", "split"]


def test_columns_unused_beside_a_text_are_reported(tmp_path: Path) -> None:
    info = read(tmp_path, "a.jsonl", lines(sentences(stars=5))).info
    assert line(info, "columns left out").startswith("columns left out: 'stars', because")


def test_series_kind_is_reported(tmp_path: Path) -> None:
    text = "date,sold\n" + "".join(f"2024-01-{i + 1:02},{i}\n" for i in range(30))
    assert line(read(tmp_path, "a.csv", text.encode()).info, "kind").startswith(
        "kind: series, because times in 'date' stand beside numbers"
    )


def test_first_line_that_looks_like_data_is_reported(tmp_path: Path) -> None:
    text = "5.1,label\n" + "".join(f"{i / 7},{'ab'[i % 2]}\n" for i in range(20))
    assert "this one looks like data" in line(read(tmp_path, "a.csv", text.encode()).info, "header")


def test_inferred_lines_are_bounded_in_number_and_length() -> None:
    inferred = InferredFacts()
    for i in range(2 * MOST_LINES):
        inferred.infer(f"what {i}", "x" * 2 * LONGEST_LINE, "\udcff")
    assert len(inferred.lines()) == MOST_LINES
    assert all(len(said) <= LONGEST_LINE for said in inferred.lines())
    inferred.infer("what 0", "a", "b")
    assert inferred.lines()[0] == "what 0: a, because b"


# ── what decides ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_task_for_a_class_overrides_inferred_numbers(tmp_path: Path) -> None:
    info = read(tmp_path, "int30.csv", INT30, task="text-classification").info
    assert info.labels == tuple(str(i) for i in range(30))
    assert tasks(info) == ("text-classification",)
    assert not [said for said in info.report.inferred if said.startswith("task: ")]


def test_task_for_a_number_overrides_inferred_classes(tmp_path: Path) -> None:
    rows = lines([{"x": i / 7, "label": i % 3} for i in range(40)])
    assert read(tmp_path, "a.jsonl", rows).info.labels == ("0", "1", "2")
    numbers = read(tmp_path, "a.jsonl", rows, task="tabular-regression")
    assert (numbers.info.labels, numbers[4].target) == ((), 1.0)


def test_task_overrides_the_inferred_kind(tmp_path: Path) -> None:
    rows = lines(sentences(40))
    assert read(tmp_path, "a.jsonl", rows).info.kind is DatasetKind.TEXT
    words = lines([{"text": "ab"[i % 2], "label": "xy"[i % 2]} for i in range(40)])
    assert read(tmp_path, "a.jsonl", words, task="tabular-classification").info.kind is DatasetKind.TABLE
    series = b"date,sold\n" + b"".join(b"2024-01-%02d,%d\n" % (i + 1, i) for i in range(30))
    as_table = read(tmp_path, "a.csv", series, task="tabular-regression", target="sold").info
    assert as_table.kind is DatasetKind.TABLE
    archive = zipped({"a.csv": INT30})
    assert read(tmp_path, "a.zip", archive, task="text-classification").info.labels[29] == "29"


def test_task_for_a_number_refuses_texts(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.jsonl", lines(sentences()), task="regression")
    assert (error.field, error.problem) == (
        "header.task",
        "a number is to be learned, and 'label' holds texts, such as 'good'",
    )


def test_unknown_or_unfitting_task_is_refused_before_reading() -> None:
    for task, kind, problem in (
        ("text-clasification", None, "did you mean 'text-classification'?"),
        ("text-classification", DatasetKind.TABLE, "is not learned from data of the kind table"),
    ):
        with pytest.raises(InvalidInput) as caught:
            check_header(header(b"x", "a.csv", task=task, kind=kind), DatasetLimits())
        assert caught.value.field == "header.task"
        assert problem in caught.value.problem


def test_dataset_id_depends_on_the_task() -> None:
    names = {dataset_id_of(header(b"x", "a.csv", task=task)) for task in ("", "text-classification", "regression")}
    assert len(names) == 3


@pytest.mark.parametrize("target", BY_TARGET)
def test_every_trainable_task_can_be_requested(target: TargetKind) -> None:
    for kind, task in BY_TARGET[target].items():
        overrides = overrides_for_task(task, kind)
        assert overrides.target is target
        assert kind in overrides.kinds
