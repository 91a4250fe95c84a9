"""Golden cases: a known input, and what the network has to answer to it.

They are recorded from real runs and answer one question after an install, an upgrade or a new device: does this model
still say what it said? Tolerances are wide enough for another CPU or GPU in full precision, and narrow enough to catch
a wrong resize, a swapped channel or a lost weight. Input files live in ``model_zoo/golden/``, where a README tells
their origin.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from model_zoo.cards.part import CardPart

__all__ = [
    "ClassificationExpectation",
    "ContinuationExpectation",
    "EmbeddingExpectation",
    "Expectation",
    "GoldenCase",
    "GoldenInput",
    "Noise",
    "SpeechExpectation",
    "TextPair",
    "golden_path",
]


def golden_path(name: str) -> Path:
    """Path of a golden input file that ships with the package.

    Raises:
        FileNotFoundError: there is no such file; the message names it, without its folder.
    """
    path = Path(__file__).parent / Path(name).name
    if not path.is_file() or path.suffix == ".py":
        raise FileNotFoundError(f"no golden input is named {name!r}")
    return path


class Noise(CardPart):
    """Gaussian noise, 16 kHz: ``numpy.random.default_rng(seed).standard_normal(n) * amplitude`` as float32."""

    seed: int
    seconds: float = Field(gt=0, le=60)
    amplitude: float = Field(default=0.05, ge=0, le=1, description="standard deviation; 0 is silence")


class GoldenInput(CardPart):
    """Exactly one of a file of ``model_zoo/golden/``, a text, or generated noise."""

    file: str | None = None
    text: str | None = None
    noise: Noise | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "GoldenInput":
        if sum(part is not None for part in (self.file, self.text, self.noise)) != 1:
            raise ValueError("give exactly one of file, text and noise")
        return self


class ClassificationExpectation(CardPart):
    """The first label of the answer, and the least probability (0..1, after softmax) it must have."""

    label: str
    min_score: float = Field(gt=0, le=1)
    or_labels: tuple[str, ...] = ()
    """Other labels that are as good, for a picture that sits between classes."""


class TextPair(CardPart):
    """Bounds of the cosine similarity (-1..1) between the case's own text and this one."""

    text: str
    at_least: float = Field(default=-1.0, ge=-1, le=1)
    at_most: float = Field(default=1.0, ge=-1, le=1)


class EmbeddingExpectation(CardPart):
    """The first values of the embedding within an absolute tolerance, and how near other texts must be."""

    values: tuple[float, ...] = Field(min_length=1)
    tolerance: float = Field(gt=0)
    pairs: tuple[TextPair, ...] = ()


class SpeechExpectation(CardPart):
    """Whether there is speech, and from when to when.

    ``segments`` are (start, end) in seconds under the recipe's threshold, durations and padding; each bound may be off
    by ``tolerance_seconds``.
    """

    speech: bool
    segments: tuple[tuple[float, float], ...] = ()
    tolerance_seconds: float = Field(default=0.1, gt=0)


class ContinuationExpectation(CardPart):
    """The likeliest character behind the text."""

    next: str = Field(min_length=1, max_length=1)


Expectation = Annotated[
    ClassificationExpectation | EmbeddingExpectation | SpeechExpectation | ContinuationExpectation,
    Field(union_mode="left_to_right"),
]


class GoldenCase(CardPart):
    """One input and what is expected of the answer."""

    input: GoldenInput
    expect: Expectation
