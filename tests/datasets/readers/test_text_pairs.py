"""Pairs of texts are read from two columns of a table."""

from pathlib import Path
from typing import Any

import pytest

from service.datasets.dataset import Columns, DatasetKind
from service.errors import InvalidInput
from service.types import TextInstance, TextPairInstance
from tests.support.datasets.dataset_files import lines, read


def pairs(first: str, second: str, **more: Any) -> list[dict[str, Any]]:
    """Rows of two texts and a class."""
    return [
        {first: f"it is the {i}th time", second: f"this happened {i} times", "label": "ab"[i % 2], **more}
        for i in range(20)
    ]


@pytest.mark.parametrize("names", [("premise", "hypothesis"), ("Sentence1", "Sentence2"), ("text", "text_pair")])
def test_columns_with_usual_names_of_pairs_are_read_together(tmp_path: Path, names: tuple[str, str]) -> None:
    examples = read(tmp_path, "a.jsonl", lines(pairs(*names)))
    info = examples.info
    assert (info.kind, info.columns.text, info.columns.text_pair) == (DatasetKind.TEXT, *names)
    assert examples[3].instance == TextPairInstance(b"it is the 3th time", b"this happened 3 times")
    assert any(line.startswith(f"text_pair: {names[1]}, because") for line in info.report.inferred)


def test_named_columns_are_read_together_and_a_number_may_be_the_target(tmp_path: Path) -> None:
    rows = [{"b": f"word {i} again", "a": f"the {i}th word", "score": i / 7} for i in range(20)]
    examples = read(tmp_path, "a.jsonl", lines(rows), text="a", text_pair="b", target="score")
    assert examples[2].instance == TextPairInstance(b"the 2th word", b"word 2 again")
    assert (examples[2].target, examples.info.labels) == (2 / 7, ())


def test_one_named_text_is_read_alone(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.jsonl", lines(pairs("premise", "hypothesis")), text="premise")
    assert examples.info.columns.text_pair == ""
    assert examples[0].instance == TextInstance(b"it is the 0th time")


def test_same_text_beside_another_one_is_no_duplicate(tmp_path: Path) -> None:
    rows = [{"premise": "always the same", "hypothesis": f"the {i}th time", "label": "ab"[i % 2]} for i in range(20)]
    assert read(tmp_path, "a.jsonl", lines(rows)).info.report.duplicates == 0


def test_first_text_of_several_pairs_is_warned_of_unless_a_column_splits_them(tmp_path: Path) -> None:
    rows = [
        {"premise": f"the {i // 2}th premise", "hypothesis": f"the {i}th time", "label": "ab"[i % 2]} for i in range(20)
    ]
    warnings = read(tmp_path, "a.jsonl", lines(rows)).info.report.warnings
    assert any(text.startswith("10 pairs with the first text of an earlier one: ") for text in warnings)
    parts = [{**row, "split": "test" if i >= 14 else "train"} for i, row in enumerate(rows)]
    assert not any("first text" in text for text in read(tmp_path, "b.jsonl", lines(parts)).info.report.warnings)
    assert not read(tmp_path, "c.jsonl", lines(pairs("premise", "hypothesis"))).info.report.warnings


@pytest.mark.parametrize(
    ("second", "reason"), [("", "the second text is empty"), (["x"], "the second text is a list or object")]
)
def test_row_without_a_second_text_is_left_out(tmp_path: Path, second: Any, reason: str) -> None:
    rows = pairs("premise", "hypothesis")
    rows[4]["hypothesis"] = second
    report = read(tmp_path, "a.jsonl", lines(rows)).info.report
    assert [(skipped.row, skipped.reason) for skipped in report.skipped] == [(5, reason)]


def test_second_text_that_is_no_column_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    data = lines(pairs("premise", "hypothesis"))
    with pytest.raises(InvalidInput, match=r"^header.columns.text_pair: there is no column 'hypothesi'; did you mean"):
        read(tmp_path, "a.jsonl", data, text="premise", text_pair="hypothesi")
    with pytest.raises(InvalidInput, match=r"^header.columns.text_pair: a second text belongs to texts"):
        read(tmp_path, "a.jsonl", data, kind=DatasetKind.TABLE, text_pair="hypothesis")


def test_columns_without_a_second_text_are_written_as_before() -> None:
    """Ids of data sets are made of what is written here."""
    assert "text_pair" not in Columns(text="a").model_dump(mode="json")
    assert Columns(text_pair="b").model_dump(mode="json")["text_pair"] == "b"
    assert Columns.model_validate(Columns(text="a").model_dump()) == Columns(text="a")
