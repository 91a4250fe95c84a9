"""Golden cases of a card as lines of a page: what a model is given, and what it answers."""

from __future__ import annotations

from functools import singledispatch

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    ContinuationExpectation,
    DetectionExpectation,
    EmbeddingExpectation,
    EntitiesExpectation,
    Expectation,
    ForecastExpectation,
    GoldenCase,
    GoldenInput,
    ImageExpectation,
    KeypointsExpectation,
    NotesExpectation,
    NumberExpectation,
    ScoreExpectation,
    SegmentationExpectation,
    ShotsExpectation,
    SpeechExpectation,
    TensorsExpectation,
    TokensExpectation,
    VolumeExpectation,
    WrittenExpectation,
)

from .source import one_line

MOST = 2
"""Cases of a card that a page shows."""
LONGEST_TEXT = 80
PICTURES = (".jpg", ".png")
FOLDER = "../model_zoo/golden"
"""Of the inputs, from docs/."""


def examples(card: Card) -> list[tuple[str, str, str]]:
    """Model, given and answer of the card's first golden cases, as cells of a table."""
    return [(f"`{card.name}`", _given(case.input), one_line(_answer(case.expect))) for case in _shown(card)]


def _shown(card: Card) -> list[GoldenCase]:
    """The first ones in which there is something to see."""
    return [case for case in card.golden if getattr(case.expect, "objects", True)][:MOST]


def _given(given: GoldenInput) -> str:
    if given.file is not None:
        name = given.file
        shown = f'<img src="{FOLDER}/{name}" width="96" alt="{name}">' if name.endswith(PICTURES) else f"`{name}`"
        words = [f"kernel `{given.kernel}`" if given.kernel else "", ", ".join(given.candidate_labels), _row(given)]
        return " ".join([shown, *filter(None, words)])
    if given.text is not None:
        return one_line(" / ".join(_code(text) for text in (given.text, given.text_pair) if text is not None))
    if given.noise is not None:
        kind = "noise" if given.noise.amplitude else "silence"
        return f"{given.noise.seconds:g} s of {kind}"
    if given.tones is not None:
        return given.tones.in_words
    if given.row is not None:
        return _row(given)
    if given.series is not None:
        return f"{len(given.series):,} steps"
    return "numbers of a seed"


def _row(given: GoldenInput) -> str:
    return one_line(", ".join(f"{column} {cell}" for column, cell in (given.row or {}).items()))


def _code(text: str) -> str:
    flat = " ".join(text.split())
    return f"`{flat if len(flat) <= LONGEST_TEXT else flat[: LONGEST_TEXT - 1] + '…'}`"


@singledispatch
def _answer(expect: Expectation) -> str:
    raise NotImplementedError(type(expect).__name__)


@_answer.register
def _(expect: ClassificationExpectation) -> str:
    others = f" (or {', '.join(expect.or_labels)})" if expect.or_labels else ""
    return f"{expect.label}{others}, at least {expect.min_score:g}"


@_answer.register
def _(expect: VolumeExpectation) -> str:
    return f"{expect.millilitres:g} ml"


@_answer.register
def _(expect: EmbeddingExpectation) -> str:
    return f"{', '.join(f'{value:g}' for value in expect.values[:4])}, …"


@_answer.register
def _(expect: SpeechExpectation) -> str:
    spans = ", ".join(f"from {start:.2f} to {end:.2f} s" for start, end in expect.segments)
    return f"speech {spans}".strip() if expect.speech else "no speech"


@_answer.register
def _(expect: NotesExpectation) -> str:
    return ", ".join(f"{name} at {start:g} s" for name, start in expect.notes) or "no notes"


@_answer.register
def _(expect: EntitiesExpectation) -> str:
    return ", ".join(f"{entity.label} at {entity.start}–{entity.end}" for entity in expect.entities) or "nothing"


@_answer.register
def _(expect: TokensExpectation) -> str:
    return "; ".join(f"token {ids[0]} at mask {i + 1}" for i, ids in enumerate(expect.masks))


@_answer.register
def _(expect: ScoreExpectation) -> str:
    return f"relevance {expect.score:.3f}"


@_answer.register
def _(expect: NumberExpectation) -> str:
    return f"{expect.number:,.6g}"


@_answer.register
def _(expect: ForecastExpectation) -> str:
    return f"next {', '.join(f'{step[0]:,.6g}' for step in expect.forecast[:4])}, …"


@_answer.register
def _(expect: ContinuationExpectation) -> str:
    return f"next character `{expect.next}`"


@_answer.register
def _(expect: WrittenExpectation) -> str:
    return _code(expect.written)


@_answer.register
def _(expect: ShotsExpectation) -> str:
    cuts = ", ".join(f"{cut:,}" for cut in expect.cuts)
    return f"{len(expect.cuts) + 1} shots in {expect.frames:,} frames, cuts after the frames {cuts}"


@_answer.register
def _(expect: DetectionExpectation) -> str:
    found = (
        f"{each.label} in ({', '.join(f'{edge:.0f}' for edge in each.box)}), at least {each.min_score:g}"
        for each in expect.objects
    )
    return "; ".join(found)


@_answer.register
def _(expect: KeypointsExpectation) -> str:
    found = (f"{each.name.replace('_', ' ')} at ({each.x:.0f}, {each.y:.0f})" for each in expect.keypoints)
    return "; ".join(found) or "no point"


@_answer.register
def _(expect: SegmentationExpectation) -> str:
    return ", ".join(f"{share:.0%} {name}" for name, share in expect.shares.items())


@_answer.register
def _(expect: ImageExpectation) -> str:
    return f"a picture of {expect.width} × {expect.height} pixels"


@_answer.register
def _(expect: TensorsExpectation) -> str:
    return ", ".join(f"`{name}` {list(output.shape)}" for name, output in expect.outputs.items())
