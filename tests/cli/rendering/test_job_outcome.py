"""The outcome of a job in lines for people."""

from __future__ import annotations

from service.cli.rendering.job_outcome import column_lines


def test_columns_that_a_version_relies_on_are_named_with_the_loss_and_the_caveat() -> None:
    columns = [{"column": f"c{i}", "importance": 21_950.7 / 7**i, "spread": 0.1} for i in range(7)]
    overflowing = {"column": "odd", "importance": None, "spread": None}
    found = {"metric": "mae", "higher_is_better": False, "columns": [overflowing, *columns]}
    assert column_lines({"column_importance": found}) == [
        "it relies on c0 21,951, c1 3,136, c2 448, c3 64, c4 9.14 and 2 more: by so much mae rises when the column is shuffled; "
        "of two columns that say the same, each looks unimportant"
    ]
    assert column_lines({"column_importance": None}) == column_lines({}) == []
