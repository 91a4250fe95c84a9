"""Spans of a text ↔ BIO tags of its tokens and words. No torch here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from service.datasets.dataset import TextSpan

OUTSIDE = 0
"""Index of the tag O."""
IGNORED = -100
"""In place of the tag of a token that the tokenizer added, or of padding: it has no part in the loss."""
_WORD = re.compile(r"\w+|[^\w\s]")

Place = tuple[int, int]
"""The first character of a token or word, and the one after its last."""


def bio_tags(labels: Sequence[str]) -> tuple[str, ...]:
    """The tags of tokens for labels of spans: O, then B- and I- of each label."""
    return ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))


def span_labels(tags: Sequence[str]) -> tuple[str, ...]:
    """The labels of spans for the tags of `bio_tags`."""
    return tuple(tag[2:] for tag in tags[1::2])


def tags_of_places(places: Sequence[Place], spans: Sequence[TextSpan]) -> list[int]:
    """The tag of each token or word, by its place: B for the first one that shares a character with a span, I for the others.

    Of two spans in one token the first counts. `places` and `spans` are in order of the text; an empty place is outside.
    """
    tags = [OUTSIDE] * len(places)
    at = 0
    for span in spans:
        while at < len(places) and places[at][1] <= span.start:
            at += 1
        first = True
        for i in range(at, len(places)):
            start, end = places[i]
            if start >= span.end:
                break
            if end > start and tags[i] == OUTSIDE:
                tags[i] = 1 + 2 * span.label + (not first)
                first = False
    return tags


def spans_of_tags(places: Sequence[Place], tags: Sequence[int]) -> list[TextSpan]:
    """The spans of words with these tags, as a pipeline joins tokens: a tag I continues a span of its label, and begins one
    elsewhere."""
    spans: list[TextSpan] = []
    before = OUTSIDE
    for (start, end), tag in zip(places, tags, strict=True):
        label, inside = (tag - 1) // 2, tag > OUTSIDE and tag % 2 == 0
        if tag != OUTSIDE and inside and before != OUTSIDE and (before - 1) // 2 == label:
            spans[-1] = TextSpan(spans[-1].start, end, label)
        elif tag != OUTSIDE:
            spans.append(TextSpan(start, end, label))
        before = tag
    return spans


class WordTags:
    """The baseline: each word has the tag that it had most often in training, and unknown words are outside of spans."""

    def __init__(self, examples: Iterable[tuple[str, Sequence[TextSpan]]]) -> None:
        """`examples`: texts with their spans."""
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        for text, spans in examples:
            places = word_places(text)
            for (start, end), tag in zip(places, tags_of_places(places, spans), strict=True):
                counts[text[start:end]][tag] += 1
        self._tags = {word: min(found, key=lambda tag: (-found[tag], tag)) for word, found in counts.items()}

    def spans(self, text: str) -> list[TextSpan]:
        """The spans of a text."""
        places = word_places(text)
        return spans_of_tags(places, [self._tags.get(text[start:end], OUTSIDE) for start, end in places])


def word_places(text: str) -> list[Place]:
    """The places of words, and of signs outside of them."""
    return [found.span() for found in _WORD.finditer(text)]
