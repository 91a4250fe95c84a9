"""Words with tags are read as texts with labelled spans; sentences with bad tags are left out by name."""

from pathlib import Path

import pytest

from service.datasets.dataset import Columns, DatasetKind, TextSpan
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.spans.conll import NUMBERED
from service.errors import InvalidInput
from service.types import TextInstance
from tests.support.datasets.dataset_files import read, zipped

GOOD = "Anna B-PER\nlives O\nin O\nNew\tNN\tB-LOC\nYork\tNN\tI-LOC\n. O\n\nKarl B-PER\nsleeps O\n"
PEOPLE = "".join(f"Anna B-PER\nmeets O\nKarl{i} B-PER\nin O\nRome B-LOC\n\n" for i in range(4))


def test_sentences_are_texts_with_the_spans_of_their_tags(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.conll", f"-DOCSTART- -X- O\n\n{GOOD}\n{PEOPLE}".encode())
    info = examples.info
    assert (info.kind, info.labels, info.report.examples) == (DatasetKind.SPANS, ("LOC", "PER"), 6)
    assert examples[0].instance == TextInstance(b"Anna lives in New York .")
    assert examples[0].target == (TextSpan(0, 4, 1), TextSpan(14, 22, 0))
    assert examples[1].origin == "a.conll, row 10"
    assert info.report.class_counts == {"LOC": 5, "PER": 6}
    assert (info.report.input_count, info.report.skipped_count) == (6, 0)


@pytest.mark.parametrize("line", ["", "   ", "\t", "\r"])
def test_line_without_words_ends_a_sentence(tmp_path: Path, line: str) -> None:
    text = f"Anna\tB-PER\nsleeps\tO\n{line}\nKarl\tB-PER\nwakes\tO\n"
    assert read(tmp_path, "a.bio", text.encode()).info.report.examples == 2


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            "so O\nYork I-LOC",
            "tag 'I-LOC' of word 2 follows 'O'; expected 'B-LOC', with which a span begins (BIO, IOB2)",
        ),
        ("York I-LOC", "tag 'I-LOC' of word 1 comes first; expected 'B-LOC', with which a span begins (BIO, IOB2)"),
        (
            "A B-PER\nB I-LOC",
            "tag 'I-LOC' of word 2 follows 'B-PER'; expected 'B-LOC', with which a span begins (BIO, IOB2)",
        ),
        ("A S-PER", "tag 'S-PER' of word 1 is none of O, B-LABEL and I-LABEL"),
        ("A B-", "tag 'B-' of word 1 is none of O, B-LABEL and I-LABEL"),
        ("A B-O", "tag of word 1: 'O' means outside of all spans, so no answer could have it as a label"),
        ("A NOUN", "tag 'NOUN' of word 1 is none of O, B-LABEL and I-LABEL"),
        ("A O\nB", "line 2 holds 'B'; expected a word and its tag, with a space or tab between them"),
    ],
)
def test_sentence_with_bad_tags_is_left_out_by_name(tmp_path: Path, lines: str, reason: str) -> None:
    report = read(tmp_path, "a.conll", f"{lines}\n\n{PEOPLE}".encode()).info.report
    found = [(skipped.row, skipped.reason) for skipped in report.skipped]
    assert found == [(1, reason)]
    assert report.examples == 4


def test_bytes_that_are_no_text_and_sentences_without_end_are_left_out(tmp_path: Path) -> None:
    wrong = b"sch\xf6n O\n\n" + b"word O\n" * 40 + b"\n"
    report = read(tmp_path, "a.conll", wrong + PEOPLE.encode(), limits=DatasetLimits(text_bytes=200)).info.report
    assert [skipped.reason for skipped in report.skipped] == [
        "line 1 is not UTF-8 text",
        "is longer than 200 bytes; a blank line ends a sentence",
    ]


def test_names_of_files_in_an_archive_are_splits(tmp_path: Path) -> None:
    files = {"ner/train.conll": PEOPLE, "ner/dev.conll": PEOPLE.replace("Karl", "Maria"), "ner/test.conll": GOOD}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.report.split_counts == {"test": 2, "train": 4, "validation": 4}


def test_text_file_of_words_with_tags_is_read_where_the_kind_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, "a.txt", PEOPLE.encode(), kind=DatasetKind.SPANS).info.kind is DatasetKind.SPANS
    by_task = read(tmp_path, "b.txt", PEOPLE.encode(), task="token-classification").info
    assert by_task.kind is DatasetKind.SPANS


def test_columns_and_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^header.kind: a file of words with tags has spans, and the kind is table"):
        read(tmp_path, "a.conll", PEOPLE.encode(), kind=DatasetKind.TABLE)
    with pytest.raises(InvalidInput, match=r"^header.columns.text: a file of words with tags has no names of columns"):
        read(tmp_path, "a.conll", PEOPLE.encode(), **Columns(text="word").model_dump())


def test_data_without_a_label_in_two_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^data: no label of a span is in at least 2 texts"):
        read(tmp_path, "a.conll", b"Anna B-PER\n\nsleeps O\n")


def numbered(first: int = 1) -> bytes:
    """Sentences with a number, a word and a tag a line."""
    rows = [sentence.split("\n") for sentence in PEOPLE.strip().split("\n\n")]
    return "\n\n".join(
        "\n".join(f"{number}\t{row.replace(' ', chr(9))}" for number, row in enumerate(sentence, first))
        for sentence in rows
    ).encode()


@pytest.mark.parametrize("first", [0, 1])
def test_words_behind_a_column_of_numbers_are_read(tmp_path: Path, first: int) -> None:
    examples = read(tmp_path, "a.conll", numbered(first))
    assert examples[0].instance == TextInstance(b"Anna meets Karl0 in Rome")
    why = "words of 'a.conll': the second column, because the first counts the words of each sentence"
    assert why in examples.info.report.inferred


def test_sentence_whose_line_has_no_word_behind_its_number_is_left_out(tmp_path: Path) -> None:
    text = "".join(f"1\tAnna\tB-PER\n2\tmeets{i}\tO\n\n" for i in range(NUMBERED)) + "1\tAnna\tB-PER\n2\tO\n"
    report = read(tmp_path, "a.conll", text.encode()).info.report
    assert [skipped.reason for skipped in report.skipped] == [
        "has a line without a word between its number and its tag"
    ]


def test_words_that_are_numbers_are_words(tmp_path: Path) -> None:
    text = "1 O\n2 O\n3 B-PER\n\n" + PEOPLE
    assert read(tmp_path, "a.conll", text.encode())[0].instance == TextInstance(b"1 2 3")


@pytest.mark.parametrize("comment", ["# id abc domain=en", "#\thttp://host [2009]", "# sent_id = 1", "#begin"])
def test_comment_above_a_sentence_is_left_out(tmp_path: Path, comment: str) -> None:
    text = PEOPLE.replace("Anna", f"{comment}\nAnna")
    examples = read(tmp_path, "a.conll", text.encode())
    assert examples.info.report.skipped_count == 0
    assert examples[0].instance == TextInstance(b"Anna meets Karl0 in Rome")


@pytest.mark.parametrize("word", ["#", "\u00a0", "a\u2028b", "-DOCSTART-x", "#B"])
def test_unusual_word_does_not_end_its_sentence(tmp_path: Path, word: str) -> None:
    text = f"{word} O\nwoke O\n{word} O\nAnna B-PER\n\n{PEOPLE}"
    examples = read(tmp_path, "a.conll", text.encode())
    assert (examples.info.report.skipped_count, examples.info.report.examples) == (0, 5)
    given = " ".join(word.split()) or word
    assert examples[0].instance == TextInstance(f"{given} woke {given} Anna".encode())


def test_separator_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^header.columns.label_separator: .* these data are words with tags"):
        read(tmp_path, "a.conll", PEOPLE.encode(), label_separator="|")
