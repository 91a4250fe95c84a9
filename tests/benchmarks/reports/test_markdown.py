"""Cells, tables and the generated part of a page."""

import pytest

from benchmarks.reports.markdown import BEGIN, END, number, replace_generated


def test_number_of_a_missing_figure_is_a_dash() -> None:
    assert number(None) == "–"
    assert number(float("nan")) == "–"
    assert number(12345.6, 0) == "12 346"


def test_replace_generated_changes_only_the_text_between_the_markers() -> None:
    page = f"# Title\n\nwords\n\n{BEGIN}\nold\n{END}\n\nmore words\n"

    once = replace_generated(page, "new")

    assert once.startswith("# Title\n\nwords\n\n")
    assert once.endswith("\n\nmore words\n")
    assert "old" not in once
    assert replace_generated(once, "new") == once


def test_replace_generated_of_a_page_without_markers_is_rejected() -> None:
    with pytest.raises(ValueError, match="benchmarks:begin"):
        replace_generated("# Title\n", "new")
