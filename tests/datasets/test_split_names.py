"""Words for splits are recognised in cells and names of folders."""

from pathlib import Path

import pytest

from service.datasets.split_names import split_from_folder
from tests.support.datasets.dataset_files import read, sentences


@pytest.mark.parametrize("word", ["eval", "Evaluation", "holdout", "held_out", "Testdaten", "prueba"])
def test_words_for_held_out_parts_count_in_cells(tmp_path: Path, word: str) -> None:
    rows = [row | {"split": "train" if i < 14 else word} for i, row in enumerate(sentences(20))]
    table = "text,label,split\n" + "".join(f"{r['text']},{r['label']},{r['split']}\n" for r in rows)
    for named in ({}, {"split": "split"}):
        report = read(tmp_path, "a.csv", table.encode(), **named).info.report
        assert (report.split_counts, report.skipped_count) == ({"test": 6, "train": 14}, 0)


@pytest.mark.parametrize("name", ["invalid", "trainer", "control", "plane", "protest", "evaluator", "devices", "bus"])
def test_names_that_resemble_a_split_are_none(name: str) -> None:
    assert split_from_folder(name) == ""
