"""Texts with spans by characters are read from JSONL; bad spans leave their row out by name."""

from pathlib import Path
from typing import Any

import pytest

from service.datasets.dataset import DatasetKind, TextSpan
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import lines, read

TEXT = "Anna 🥐 lives in New York."
ROWS = [
    {"text": f"{TEXT} {i}", "spans": [{"start": 0, "end": 4, "label": "PER"}, {"start": 16, "end": 24, "label": "LOC"}]}
    for i in range(4)
]


def test_spans_are_found_without_options_and_keep_their_places(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.jsonl", lines(ROWS))
    info = examples.info
    assert (info.kind, info.columns.text, info.columns.target) == (DatasetKind.SPANS, "text", "spans")
    assert examples[0].target == (TextSpan(0, 4, 1), TextSpan(16, 24, 0))
    assert any(
        line.startswith("kind: spans, because 'spans' holds lists beside texts") for line in info.report.inferred
    )


def test_named_columns_and_spans_as_lists_are_read_in_any_order(tmp_path: Path) -> None:
    rows = [{"note": f"{TEXT}{i}", "marks": [[16, 25, "LOC"], [0, 5, "PER"]]} for i in range(4)]
    examples = read(tmp_path, "a.jsonl", lines(rows), kind=DatasetKind.SPANS, text="note", target="marks")
    assert examples[0].target == (TextSpan(0, 4, 1), TextSpan(16, 25, 0)), "spaces at the ends are left out"


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([{"start": 0, "end": 99, "label": "PER"}], "spans[0] is 0..99, and the text has the characters 0..27"),
        ([{"start": -1, "end": 3, "label": "PER"}], "spans[0] is -1..3, and the text has the characters 0..27"),
        ([{"start": 3, "end": 3, "label": "PER"}], "spans[0] is 3..3, and the text has the characters 0..27"),
        ([[0, 4, "A"], [3, 6, "B"]], "spans[1] at 3..6 overlaps spans[0] at 0..4"),
        ([{"start": 0, "end": 4}], "spans[0].label is missing; expected start, end and label"),
        ([{"start": 0, "end": 4, "lable": "A"}], "spans[0].label is missing; expected start, end and label"),
        ([{"start": "0", "end": 4, "label": "A"}], "spans[0].start: expected a whole number, got '0'"),
        ([{"start": 0, "end": True, "label": "A"}], "spans[0].end: expected a whole number, got True"),
        ([{"start": 0, "end": 4, "label": 3}], "spans[0].label: expected a text, got 3"),
        ([{"start": 4, "end": 5, "label": "A"}], "spans[0] at 4..5 covers spaces alone"),
        ([[0, 4, "O"]], "spans[0].label: 'O' means outside of all spans, so no answer could have it as a label"),
        ([7], "spans[0]: expected an object with start, end and label, got 7"),
        ("PER", "expected a list of spans, got 'PER'"),
        (None, "the target is empty"),
    ],
)
def test_row_with_bad_spans_is_left_out_by_name(tmp_path: Path, spans: Any, reason: str) -> None:
    report = read(tmp_path, "a.jsonl", lines([*ROWS, {"text": f"{TEXT} 9", "spans": spans}])).info.report
    assert [(skipped.row, skipped.reason) for skipped in report.skipped] == [(5, reason)]


def test_text_without_spans_is_an_example_and_a_rare_label_is_left_out(tmp_path: Path) -> None:
    rows = [*ROWS, {"text": "nothing here", "spans": []}, {"text": "one thing", "spans": [[0, 3, "RARE"]]}]
    examples = read(tmp_path, "a.jsonl", lines(rows))
    assert (examples[4].target, examples[5].target, examples.info.labels) == ((), (), ("LOC", "PER"))
    assert "classes of one example, which were left out: 'RARE'" in examples.info.report.warnings


def test_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^header.columns.target: there is no column 'span'; did you mean 'spans'"):
        read(tmp_path, "a.jsonl", lines(ROWS), kind=DatasetKind.SPANS, target="span")
    rows = [{"note": "a b c", "marks": []}] * 3
    with pytest.raises(
        InvalidInput, match=r"^header.columns.text: cannot tell which column holds the text; name one of"
    ):
        read(tmp_path, "a.jsonl", lines(rows), kind=DatasetKind.SPANS)


PAIRED = [{**row, "title": f"title {i}", "label": "ab"[i % 2]} for i, row in enumerate(ROWS * 3)]
PAIRED = [{**row, "text": f"{row['text']} {i}"} for i, row in enumerate(PAIRED)]


@pytest.mark.parametrize(
    ("without", "how"),
    [
        ("spans", {}),  # empty lists that are called as spans
        ("", {}),
        ("", {"text_pair": "title"}),
        ("", {"label_separator": "|"}),
    ],
)
def test_lists_beside_another_target_are_no_spans(tmp_path: Path, without: str, how: dict[str, str]) -> None:
    rows = [{**row, without: []} for row in PAIRED] if without else PAIRED
    info = read(tmp_path, "a.jsonl", lines(rows), **how).info
    assert (info.kind, info.columns.target, info.labels) == (DatasetKind.TEXT, "label", ("a", "b"))


def test_lists_that_look_like_no_spans_are_no_spans(tmp_path: Path) -> None:
    rows = [{"text": f"{TEXT} {i}", "entities": ["new"] if i % 2 else ["old", "new"]} for i in range(12)]
    assert read(tmp_path, "a.jsonl", lines(rows)).info.kind is DatasetKind.TEXT


def test_second_texts_and_separators_are_refused_where_spans_are_asked_for(tmp_path: Path) -> None:
    for role, value in (("text_pair", "title"), ("label_separator", "|")):
        with pytest.raises(InvalidInput, match=f"^header.columns.{role}: a se"):
            read(tmp_path, "a.jsonl", lines(PAIRED), kind=DatasetKind.SPANS, **{role: value})


def test_texts_that_differ_in_case_and_spaces_alone_are_in_one_part(tmp_path: Path) -> None:
    rows = [*ROWS, {**ROWS[0], "text": f"  {ROWS[0]['text'].upper()}", "spans": []}]
    digests = read(tmp_path, "a.jsonl", lines(rows)).outline().digests
    assert digests[4] == digests[0]
    assert len(set(digests)) == 4
