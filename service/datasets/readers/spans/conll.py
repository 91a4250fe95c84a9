"""Reads CoNLL files: a word and its tag a line, with any columns between them, and a blank line between sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.parsed_example import ParsedExample, ReaderSchema, Skip, TargetKind, Warn
from service.datasets.readers.spans.labelled_spans import LabelledSpan, spans_of_tags
from service.datasets.readers.spans.span_table import span_example

DOCUMENT = "-DOCSTART-"
"""The word of a line between two documents."""


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
    size: int = 0
    problem: str = ""


class ConllReader:
    """Reads each sentence as an example: its words with a space between them, and the spans of its tags."""

    def __init__(self, files: Sequence[ConllFile], limits: DatasetLimits) -> None:
        self._files = files
        self._limits = limits
        self._entered = 0

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
                if not problem:
                    spans, problem = spans_of_tags(sentence.words, sentence.tags, self._limits.name_characters)
                if problem:
                    skip(file.name, sentence.line, problem)
                else:
                    yield span_example(" ".join(sentence.words), spans, file.name, sentence.line, file.split)

    def _sentences(self, path: Path) -> Iterator[_Sentence]:
        sentence: _Sentence | None = None
        with path.open("rb") as file:
            number = 0
            while line := file.readline(self._limits.text_bytes + 1):
                number += 1
                fields, problem = _fields(line, number, self._limits.text_bytes)
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


def _fields(line: bytes, number: int, longest: int) -> tuple[list[str], str]:
    """(the columns of a line, "") or ([], what is wrong); no columns for a line that ends a sentence."""
    if len(line) > longest:
        return [], f"line {number} is longer than {longest} bytes"
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError:
        return [], f"line {number} is not UTF-8 text"
    if "\0" in text:
        return [], f"line {number} holds NUL characters, which no text does"
    if not text or text.startswith(DOCUMENT) or (text.startswith("# ") and " = " in text):
        return [], ""
    fields = [" ".join(part.split()) for part in text.split("\t")] if "\t" in text else text.split()
    if len(fields) < 2 or not fields[0] or not fields[-1]:
        return [], f"line {number} holds {text[:40]!r}; expected a word and its tag, with a space or tab between them"
    return fields, ""
