"""Reads CoNLL files: a word and its tag a line, with any columns between them, and a blank line between sentences."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted
from service.datasets.readers.columns.column_roles import refuse_separator
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.parsed_example import ParsedExample, ReaderSchema, Skip, TargetKind, Warn
from service.datasets.readers.spans.labelled_spans import OUTSIDE, LabelledSpan, spans_of_tags
from service.datasets.readers.spans.span_table import span_example
from service.errors import InvalidInput

DOCUMENT = "-DOCSTART-"
"""The word of a line between two documents."""
NUMBERED = 100
"""Sentences that show whether a column of numbers stands in front of the words."""

_SPACES = " \t\r\n"


@dataclass(frozen=True, slots=True)
class ConllFile:
    """One file."""

    path: Path
    name: str
    """For its owner."""
    split: str = ""


@dataclass(slots=True)
class _Sentence:
    line: int
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    second: list[str] = field(default_factory=list)
    """The second column, of lines that have three."""
    size: int = 0
    problem: str = ""


class ConllReader:
    """Reads each sentence as an example: its words with a space between them, and the spans of its tags."""

    def __init__(self, files: Sequence[ConllFile], limits: DatasetLimits, infer: Infer = ignore_inferred) -> None:
        """`infer` is called for each file whose words stand in its second column."""
        self._files = files
        self._limits = limits
        self._entered = 0
        self._numbered = {file.path for file in files if self._has_numbers(file.path)}
        for file in files:
            if file.path in self._numbered:
                why = "the first counts the words of each sentence"
                infer(f"words of {quoted(file.name)}", "the second column", why)

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.SPANS, Columns(), TargetKind.SPANS)

    def input_count(self) -> int:
        """Sentences, see `Reader`."""
        return self._entered

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each sentence, in order; `row` is its first line."""
        self._entered = 0
        for file in self._files:
            for sentence in self._sentences(file.path):
                self._entered += 1
                spans: list[LabelledSpan] = []
                problem = sentence.problem
                if not problem and file.path in self._numbered:
                    if len(sentence.second) == len(sentence.words):
                        sentence.words = sentence.second
                    else:
                        problem = "has a line without a word between its number and its tag"
                if not problem:
                    spans, problem = spans_of_tags(sentence.words, sentence.tags, self._limits.name_characters)
                if problem:
                    skip(file.name, sentence.line, problem)
                else:
                    yield span_example(" ".join(sentence.words), spans, file.name, sentence.line, file.split)

    def _has_numbers(self, path: Path) -> bool:
        """Whether the first column counts the words of each of the first sentences, and words stand between them and the tags."""
        longest = 0
        for sentence in itertools.islice(self._sentences(path), NUMBERED):
            if sentence.problem:
                continue
            counted = [str(number) for number in range(len(sentence.words) + 1)]
            if sentence.words not in (counted[:-1], counted[1:]) or len(sentence.second) < len(sentence.words):
                return False
            longest = max(longest, len(sentence.words))
        return longest > 1

    def _sentences(self, path: Path) -> Iterator[_Sentence]:
        sentence: _Sentence | None = None
        with path.open("rb") as file:
            number = 0
            while line := file.readline(self._limits.text_bytes + 1):
                number += 1
                fields, problem = _fields(line, number, self._limits.text_bytes, first=sentence is None)
                if not fields and not problem:
                    if sentence is not None:
                        yield sentence
                    sentence = None
                    continue
                if sentence is None:
                    sentence = _Sentence(number)
                self._add(sentence, fields, problem, len(line))
        if sentence is not None:
            yield sentence

    def _add(self, sentence: _Sentence, fields: list[str], problem: str, size: int) -> None:
        sentence.size += size
        if sentence.size > self._limits.text_bytes:
            problem = f"is longer than {self._limits.text_bytes} bytes; a blank line ends a sentence"
        sentence.problem = sentence.problem or problem
        if not sentence.problem:
            sentence.words.append(fields[0])
            sentence.tags.append(fields[-1])
            if len(fields) > 2 and fields[1]:
                sentence.second.append(fields[1])


def check_conll(kind: DatasetKind | None, columns: Columns) -> None:
    """Raises InvalidInput for a kind or columns that a file of words with tags does not have."""
    if kind not in (None, DatasetKind.SPANS):
        raise InvalidInput("header.kind", f"a file of words with tags has spans, and the kind is {kind}")
    refuse_separator(columns, "words with tags")
    if named := [role for role, name in columns.roles().items() if name]:
        raise InvalidInput(
            f"header.columns.{named[0]}",
            "a file of words with tags has no names of columns: words come first, tags last",
        )


def _fields(line: bytes, number: int, longest: int, *, first: bool) -> tuple[list[str], str]:
    """(the columns of a line, "") or ([], what is wrong); no columns for a line that ends a sentence, or a comment above one.

    `first`: whether a sentence may begin here. Unusual spaces, such as one that does not break, are characters of words.
    """
    if len(line) > longest:
        return [], f"line {number} is longer than {longest} bytes"
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip(_SPACES)
    except UnicodeDecodeError:
        return [], f"line {number} is not UTF-8 text"
    if "\0" in text:
        return [], f"line {number} holds NUL characters, which no text does"
    if not text.strip() or (text.startswith("# ") and " = " in text):
        return [], ""
    parts = text.split("\t") if "\t" in text else re.split(" +", text)
    fields = [" ".join(part.split()) or part.strip(_SPACES) for part in parts]
    if fields[0] == DOCUMENT or (first and text.startswith("#") and not _is_tag(fields[-1])):
        return [], ""
    if len(fields) < 2 or not fields[0] or not fields[-1]:
        return [], f"line {number} holds {text[:40]!r}; expected a word and its tag, with a space or tab between them"
    return fields, ""


def _is_tag(text: str) -> bool:
    return text == OUTSIDE or text[:2] in ("B-", "I-")
