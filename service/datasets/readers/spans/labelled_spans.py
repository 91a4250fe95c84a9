"""Labelled spans of a text: checked as a user gives them, or made of the tags of its words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.datasets.formatting import quoted
from service.datasets.readers.columns.targets import read_class_folder

OUTSIDE = "O"
"""The tag of a word in no span."""
NO_LABEL = f"{OUTSIDE!r} means outside of all spans, so no answer could have it as a label"


@dataclass(frozen=True, slots=True)
class LabelledSpan:
    """Characters `start` to `end`, the one after the last, in Unicode code points."""

    start: int
    end: int
    label: str


def read_spans(given: object, text: str, name_characters: int) -> tuple[list[LabelledSpan], str]:
    """(spans in order of the text, "") or ([], what is wrong). Spaces at the ends of a span are left out."""
    if not isinstance(given, list):
        return [], f"expected a list of spans, got {quoted(given)}"
    found: list[tuple[int, LabelledSpan]] = []
    for number, one in enumerate(given):
        span, problem = _read_span(one, text, name_characters)
        if span is None:
            return [], f"spans[{number}]{problem}"
        found.append((number, span))
    found.sort(key=lambda numbered: numbered[1].start)
    for (first, before), (second, span) in itertools.pairwise(found):
        if span.start < before.end:
            places = f"{span.start}..{span.end} overlaps spans[{first}] at {before.start}..{before.end}"
            return [], f"spans[{second}] at {places}"
    return [span for _, span in found], ""


def _read_span(given: Any, text: str, name_characters: int) -> tuple[LabelledSpan | None, str]:
    if isinstance(given, list) and len(given) == 3:
        given = dict(zip(("start", "end", "label"), given, strict=True))
    if not isinstance(given, Mapping):
        return None, f": expected an object with start, end and label, got {quoted(given)}"
    if missing := [name for name in ("start", "end", "label") if given.get(name) is None]:
        return None, f".{missing[0]} is missing; expected start, end and label"
    places = []
    for name in ("start", "end"):
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, int):
            return None, f".{name}: expected a whole number, got {quoted(value)}"
        places.append(value)
    start, end = places
    if not 0 <= start < end <= len(text):
        return None, f" is {start}..{end}, and the text has the characters 0..{len(text)}"
    if not isinstance(given["label"], str):
        return None, f".label: expected a text, got {quoted(given['label'])}"
    label, problem = read_class_folder(given["label"], name_characters)
    if problem or not label:
        return None, f".label: {problem or 'is empty'}"
    if label == OUTSIDE:
        return None, f".label: {NO_LABEL}"
    covered = text[start:end]
    start, end = start + len(covered) - len(covered.lstrip()), start + len(covered.rstrip())
    return (
        (LabelledSpan(start, end, label), "")
        if start < end
        else (None, f" at {places[0]}..{places[1]} covers spaces alone")
    )


def spans_of_tags(words: Sequence[str], tags: Sequence[str], name_characters: int) -> tuple[list[LabelledSpan], str]:
    """Spans of the text of these words with a space between them: (spans, "") or ([], what is wrong).

    Tags are BIO (IOB2): `B-` and a label for the first word of each span, `I-` and the same label for the others, `O` outside.
    """
    spans: list[LabelledSpan] = []
    at, before = 0, ""
    for number, (word, tag) in enumerate(zip(words, tags, strict=True), 1):
        prefix, label = tag[:2], tag[2:]
        if tag == OUTSIDE:
            before = ""
        elif prefix not in ("B-", "I-") or not label:
            return [], f"tag {quoted(tag)} of word {number} is none of O, B-LABEL and I-LABEL"
        elif prefix == "I-" and label != before:
            follows = f"follows {quoted(tags[number - 2])}" if number > 1 else "comes first"
            return (
                [],
                f"tag {quoted(tag)} of word {number} {follows}; expected 'B-{label}', with which a span begins (BIO, IOB2)",
            )
        else:
            name, problem = read_class_folder(label, name_characters)
            if problem or name == OUTSIDE:
                return [], f"tag of word {number}: {problem or NO_LABEL}"
            if prefix == "B-":
                spans.append(LabelledSpan(at, at + len(word), name))
            else:
                spans[-1] = LabelledSpan(spans[-1].start, at + len(word), name)
            before = label
        at += len(word) + 1
    return spans, ""
