"""Rows of JSON Lines are read one by one, and unusable rows are named."""

from pathlib import Path

import pytest

from service.errors import InvalidInput
from tests.support.datasets.table_rows import cells, rows_of


def test_json_column_that_appears_late_is_named(tmp_path: Path) -> None:
    text = '{"a": 1}\n' * 1024 + '{"a": 1, "b": 2}\n'
    _, (note,) = rows_of(tmp_path, text, "a.jsonl")
    assert note.startswith("column 'b' comes first in row 1025 and was left out")


def test_json_row_with_a_repeated_column_is_skipped_alone(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path, '{"a": 1, " a": 2}\n{"a": 1, "a": 2}\n{"a": 3}\n', "a.jsonl")
    assert cells(rows) == ["names a column twice", "names a column twice", (3,)]


@pytest.mark.parametrize("line", [r'{"a": "x\u0000"}', r'{"a": ["x\u0000"]}', r'{"a": {"b\u0000": 1}}'])
def test_json_with_nul_characters_is_named_like_csv(tmp_path: Path, line: str) -> None:
    fine = r'{"a": "x\\u0000"}'
    rows, _ = rows_of(tmp_path, f"{fine}\n{line}\n", "a.jsonl")
    assert cells(rows) == [("x\\u0000",), "holds NUL characters, which no text does"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"a": 1, "a": 2}', "names a column twice"),
        (r'{"a": "\ud83d"}', "holds half a surrogate pair, which is no text"),
        ("{", "is not JSON"),
        ("5", "expected a JSON object"),
    ],
)
def test_json_without_a_usable_row_gives_the_reason_of_the_first(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=f"expected one JSON object on each line, got none; row 1 {why}$"):
        rows_of(tmp_path, f"{line}\n" * 3, "a.jsonl")
