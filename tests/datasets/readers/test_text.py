"""Texts are read from tables, from class folders, and as plain text in blocks."""

import io
from pathlib import Path

import pandas
import pytest

from service.datasets.dataset import DatasetKind
from service.types import TextInstance
from tests.support.datasets.dataset_files import (
    lines,
    read,
    sentences,
    zipped,
)


def parquet(frame: pandas.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


FRAME = pandas.DataFrame(sentences())
FORMS = {
    "a.csv": FRAME.to_csv(index=False).encode(),
    "with_index.csv": FRAME.to_csv().encode(),
    "excel.csv": b"\xef\xbb\xbf" + FRAME.to_csv(index=False, sep=";", lineterminator="\r\n").encode(),
    "wide.csv": FRAME.to_csv(index=False).encode("utf-16"),
    "a.tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    "a.jsonl": lines(sentences()),
    "a.parquet": parquet(FRAME),
    "a.zip": zipped({"data/a.csv": FRAME.to_csv(index=False)}),
}


@pytest.mark.parametrize("file_name", FORMS)
def test_texts_with_labels_in_every_format_give_the_same_examples(tmp_path: Path, file_name: str) -> None:
    examples = read(tmp_path, file_name, FORMS[file_name])
    info = examples.info
    assert (info.kind, info.columns.text, info.columns.target) == (DatasetKind.TEXT, "text", "label")
    assert info.report.class_counts == {"bad": 10, "good": 10}
    assert [examples[i].instance for i in range(20)] == [TextInstance(s["text"].encode()) for s in sentences()]
    assert [examples[i].target for i in range(20)] == [1, 0] * 10
    assert info.report.skipped_count == 0


def test_text_and_number_is_a_regression(tmp_path: Path) -> None:
    data = lines([{"review": f"it is the {i}th time", "stars": i / 7} for i in range(30)])
    examples = read(tmp_path, "a.jsonl", data)
    assert (examples.info.columns.text, examples.info.columns.target, examples.info.labels) == ("review", "stars", ())
    assert examples[3].target == 3 / 7


def test_class_folders_of_texts_are_read(tmp_path: Path) -> None:
    files = {f"{c}/{i}.txt": f"text {c} {i}" for c in ("sad", "happy") for i in range(3)}
    latin = {"sad/latin.txt": "schön".encode("latin-1"), "sad/empty.txt": b" \n"}
    examples = read(tmp_path, "a.zip", zipped({**files, **latin}))
    assert (examples.info.kind, examples.info.labels) == (DatasetKind.TEXT, ("happy", "sad"))
    assert [(s.file, s.reason) for s in examples.info.report.skipped] == [
        ("sad/empty.txt", "is empty"),
        ("sad/latin.txt", "is not UTF-8 text"),
    ]


def test_plain_text_blocks_join_to_the_original_text(tmp_path: Path) -> None:
    text = "".join(f"Line {i}, and it is long enough to be read.\n" for i in range(1000))
    examples = read(tmp_path, "book.txt", text.encode())
    assert examples.info.kind is DatasetKind.PLAIN_TEXT
    blocks = [examples[i].instance.data.decode() for i in range(len(examples))]  # type: ignore[union-attr]
    assert "".join(blocks) == text
    assert all(4096 <= len(block) < 2 * 4096 for block in blocks[:-1])
    assert examples[1].origin.startswith("book.txt, row ")


def test_several_text_files_are_one_text(tmp_path: Path) -> None:
    files = {"b.txt": "second\n" * 300, "a.txt": "first\n" * 300}
    examples = read(tmp_path, "a.zip", zipped(files))
    assert examples.info.kind is DatasetKind.PLAIN_TEXT
    assert [examples[i].origin for i in range(len(examples))] == ["a.txt, row 1", "b.txt, row 1"]


def test_lines_that_are_not_utf8_are_left_out(tmp_path: Path) -> None:
    data = b"a good line of text\n" * 100 + b"sch\xf6n\n" + b"a good line of text\n" * 100
    examples = read(tmp_path, "a.txt", data)
    assert [(s.file, s.row) for s in examples.info.report.skipped] == [("a.txt", 101)]
    assert b"sch" not in examples[0].instance.data  # type: ignore[union-attr]
