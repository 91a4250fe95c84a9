"""Tags of tokens follow the spans of a text, whatever the tokenizer makes of its words."""

import pytest

from service.datasets.dataset import TextSpan
from service.training.data.token_tags import (
    WordTags,
    bio_tags,
    span_labels,
    spans_of_tags,
    tags_of_places,
    word_places,
)

TAGS = bio_tags(("LOC", "PER"))


def named(places: list[tuple[int, int]], *spans: TextSpan) -> list[str]:
    return [TAGS[tag] for tag in tags_of_places(places, spans)]


def test_tags_and_labels_belong_together() -> None:
    assert TAGS == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert span_labels(TAGS) == ("LOC", "PER")


@pytest.mark.parametrize(
    ("places", "spans", "expected"),
    [
        ([(0, 4), (5, 8), (9, 13)], [TextSpan(5, 13, 0)], ["O", "B-LOC", "I-LOC"]),
        ([(0, 2), (2, 4), (5, 8)], [TextSpan(0, 4, 1)], ["B-PER", "I-PER", "O"]),
        ([(0, 0), (0, 4), (0, 0)], [TextSpan(0, 4, 1)], ["O", "B-PER", "O"]),  # tokens without characters
        (
            [(0, 4), (4, 9)],
            [TextSpan(0, 4, 1), TextSpan(5, 9, 1)],
            ["B-PER", "B-PER"],
        ),  # the second token begins with a space
        ([(0, 9)], [TextSpan(0, 4, 1), TextSpan(5, 9, 0)], ["B-PER"]),  # one token for two spans: the first counts
        ([(0, 3), (3, 9)], [TextSpan(2, 5, 0)], ["B-LOC", "I-LOC"]),  # a span within words
        ([(0, 3)], [TextSpan(7, 9, 0)], ["O"]),  # beyond what the network reads
    ],
)
def test_first_token_of_a_span_begins_it(
    places: list[tuple[int, int]], spans: list[TextSpan], expected: list[str]
) -> None:
    assert named(places, *spans) == expected


def test_spans_are_made_of_tags_as_they_were_tagged() -> None:
    text = "Anna Maria meets Karl in New York"
    spans = [TextSpan(0, 10, 1), TextSpan(17, 21, 1), TextSpan(25, 33, 0)]
    places = word_places(text)
    assert spans_of_tags(places, tags_of_places(places, spans)) == spans
    assert spans_of_tags([(0, 1), (2, 3), (4, 5)], [2, 4, 3]) == [
        TextSpan(0, 1, 0),
        TextSpan(2, 3, 1),
        TextSpan(4, 5, 1),
    ]


def test_baseline_gives_each_word_its_most_frequent_tag() -> None:
    trained = WordTags(
        [
            ("Anna meets Karl", [TextSpan(0, 4, 1), TextSpan(11, 15, 1)]),
            ("Karl sleeps", [TextSpan(0, 4, 1)]),
            ("Karl likes New York", [TextSpan(11, 19, 0)]),
        ]
    )
    assert trained.spans("Karl, in New York with Maria") == [TextSpan(0, 4, 1), TextSpan(9, 17, 0)]
