"""Golden cases: a known input, and the expected answer of the network.

They are recorded from real runs and show after an install, an upgrade or on a new device whether a model still gives the same
answers. Tolerances are wide enough for another CPU or GPU in full precision, and narrow enough to detect a wrong resize, a
swapped channel or a lost weight. The input files are in ``model_zoo/golden/``; its README gives their origin.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from model_zoo.cards.part import CardPart
from model_zoo.golden.tones import Tones

__all__ = [
    "ClassificationExpectation",
    "ContinuationExpectation",
    "DetectionExpectation",
    "EmbeddingExpectation",
    "EntitiesExpectation",
    "Expectation",
    "ExpectedEntity",
    "ExpectedKeypoint",
    "ExpectedObject",
    "ForecastExpectation",
    "GoldenCase",
    "GoldenInput",
    "ImageExpectation",
    "KeypointsExpectation",
    "Noise",
    "NotesExpectation",
    "NumberExpectation",
    "OutputValues",
    "ScoreExpectation",
    "SegmentationExpectation",
    "ShotsExpectation",
    "SpeechExpectation",
    "TensorsExpectation",
    "TextPair",
    "TokensExpectation",
    "VolumeExpectation",
    "WrittenExpectation",
    "golden_path",
]


def golden_path(name: str) -> Path:
    """Path of a golden input file that ships with the package.

    Raises:
        FileNotFoundError: there is no such file; the message names it without its folder.
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
    """Exactly one of a file of ``model_zoo/golden/``, a text, generated noise, generated tones, the row of a table, a series, or
    the seed of random tensors. A second text may come with a text, and labels or a row with a file."""

    file: str | None = None
    text: str | None = None
    text_pair: str | None = None
    candidate_labels: tuple[str, ...] = ()
    """Labels to choose from, for an image."""
    kernel: str = ""
    """Name of the kernel that an image is filtered with; empty for the default."""
    noise: Noise | None = None
    tones: Tones | None = None
    row: dict[str, bool | int | float | str | None] | None = Field(default=None, min_length=1)
    """Cells by column, alone or with an image."""
    series: tuple[tuple[float, ...], ...] | None = Field(default=None, min_length=1)
    """Steps, the oldest first; each has a number for every channel."""
    seed: int | None = Field(default=None, ge=0)
    """Of a row of the network's own tensors; see ``seeded_tensors``."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "GoldenInput":
        row = self.row if self.file is None else None  # a record is an image and its row
        parts = (self.file, self.text, self.noise, self.tones, row, self.series, self.seed)
        if sum(part is not None for part in parts) != 1:
            raise ValueError("give exactly one of file, text, noise, tones, row, series and seed")
        if self.text_pair is not None and self.text is None:
            raise ValueError("text_pair comes with a text")
        if self.candidate_labels and self.file is None:
            raise ValueError("candidate_labels come with a file")
        if self.kernel and self.file is None:
            raise ValueError("kernel comes with a file")
        return self


class ClassificationExpectation(CardPart):
    """The first label of the answer, and its least probability (0..1, after softmax)."""

    label: str
    min_score: float = Field(gt=0, le=1)
    or_labels: tuple[str, ...] = ()
    """Other labels that are accepted, for an image between classes."""


class TextPair(CardPart):
    """Bounds of the cosine similarity (-1..1) between the case's own text and this one."""

    text: str
    at_least: float = Field(default=-1.0, ge=-1, le=1)
    at_most: float = Field(default=1.0, ge=-1, le=1)


class EmbeddingExpectation(CardPart):
    """The first values of the embedding within an absolute tolerance, and the similarity to other texts."""

    values: tuple[float, ...] = Field(min_length=1)
    tolerance: float = Field(gt=0)
    pairs: tuple[TextPair, ...] = ()


class SpeechExpectation(CardPart):
    """Whether there is speech, and its segments.

    ``segments`` are (start, end) in seconds under the recipe's threshold, durations and padding; each bound may be off
    by ``tolerance_seconds``.
    """

    speech: bool
    segments: tuple[tuple[float, float], ...] = ()
    tolerance_seconds: float = Field(default=0.1, gt=0)


class NotesExpectation(CardPart):
    """The notes of a recording of music, all of them."""

    notes: tuple[tuple[str, float], ...]
    """Name, such as ``A4`` or ``C#5``, and beginning in seconds."""
    tolerance_seconds: float = Field(default=0.05, gt=0)
    """Of each beginning."""


class ExpectedEntity(CardPart):
    """A span of a text, in Unicode code points."""

    label: str
    start: int = Field(ge=0)
    end: int = Field(gt=0)


class EntitiesExpectation(CardPart):
    """Spans of the answer: for each one of its label overlaps it. Only spans whose label no rounding changes are
    listed."""

    entities: tuple[ExpectedEntity, ...]


class TokensExpectation(CardPart):
    """For each mask of a text the tokens that may be the likeliest: the first one, and those that are nearly as
    probable."""

    masks: tuple[tuple[int, ...], ...] = Field(min_length=1)


class ScoreExpectation(CardPart):
    """The relevance of the second text for the first, within an absolute tolerance."""

    score: float
    tolerance: float = Field(gt=0)


class NumberExpectation(CardPart):
    """A predicted number in the units of the data, within an absolute tolerance."""

    number: float
    tolerance: float = Field(gt=0)


class ForecastExpectation(CardPart):
    """The first steps of a forecast in the units of the data, within an absolute tolerance."""

    forecast: tuple[tuple[float, ...], ...] = Field(min_length=1)
    """Steps; each has a number for every channel."""
    tolerance: float = Field(gt=0)


class ContinuationExpectation(CardPart):
    """The most probable character after the text."""

    next: str = Field(min_length=1, max_length=1)


class WrittenExpectation(CardPart):
    """The text that the network writes first, as many tokens as the task checks; or what is said in a sound."""

    written: str


class ExpectedObject(CardPart):
    """An object that must be found."""

    label: str
    min_score: float = Field(gt=0, le=1)
    box: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax in pixels of the image."""


class DetectionExpectation(CardPart):
    """Objects that must be found at the default threshold, and how many there may be in all."""

    objects: tuple[ExpectedObject, ...]
    tolerance_pixels: float = Field(gt=0)
    """Of each edge of a box."""
    at_most: int = Field(ge=0)


class ExpectedKeypoint(CardPart):
    """A point that must be found, in pixels of the image."""

    name: str
    x: float
    y: float


class KeypointsExpectation(CardPart):
    """Points that must be found at the default threshold, and how many there may be in all."""

    keypoints: tuple[ExpectedKeypoint, ...]
    tolerance_pixels: float = Field(gt=0)
    """Of x and of y."""
    at_most: int = Field(ge=0)


class OutputValues(CardPart):
    """Some values of one row of an output."""

    shape: tuple[int, ...]
    """Of the row."""
    values: tuple[float, ...]
    """Evenly spread over the row; see ``spread``."""
    tolerance: float = Field(ge=0)
    """Greatest absolute difference of a value."""


class TensorsExpectation(CardPart):
    """Outputs of a network, by name."""

    outputs: dict[str, OutputValues] = Field(min_length=1)


class SegmentationExpectation(CardPart):
    """The shares of an image (0..1) that classes cover, by the name of the class."""

    shares: dict[str, float] = Field(min_length=1)
    tolerance: float = Field(gt=0, le=1)
    """Of each share."""


class ShotsExpectation(CardPart):
    """The frames of a video, and the last frame of each of its shots but the last one."""

    frames: int = Field(gt=0)
    cuts: tuple[Annotated[int, Field(ge=0)], ...]
    min_score: float = Field(default=0.5, gt=0, lt=1)
    """Least probability of each cut."""


class ImageExpectation(CardPart):
    """An image that a network makes: its size, and some of its values."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    values: tuple[int, ...] = Field(min_length=1)
    """In 0..255, evenly spread over (height, width, 3); see ``spread``."""
    tolerance: float = Field(ge=0)
    """Greatest absolute difference of a value, in grey levels."""


class VolumeExpectation(CardPart):
    """The volume of the object that is found in a volume, and its box."""

    millilitres: float = Field(gt=0)
    tolerance_millilitres: float = Field(gt=0)
    box: tuple[int, int, int, int, int, int]
    """The first voxel of each axis, then the one after the last of each."""
    tolerance_voxels: int = Field(ge=0)
    """Of each edge of the box."""


Expectation = Annotated[
    ClassificationExpectation
    | EmbeddingExpectation
    | SpeechExpectation
    | NotesExpectation
    | ContinuationExpectation
    | WrittenExpectation
    | EntitiesExpectation
    | TokensExpectation
    | ScoreExpectation
    | NumberExpectation
    | ForecastExpectation
    | DetectionExpectation
    | KeypointsExpectation
    | SegmentationExpectation
    | ShotsExpectation
    | ImageExpectation
    | VolumeExpectation
    | TensorsExpectation,
    Field(union_mode="left_to_right"),
]


class GoldenCase(CardPart):
    """One input and the expected answer."""

    input: GoldenInput
    expect: Expectation
