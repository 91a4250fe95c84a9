"""Domain types of one request, as the pipeline passes them on. No grpc, no torch; arrays are NumPy's.

Instance ──preprocess──► Item ──batch, execute──► Row ──postprocess──► Prediction | ZooError
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, ZooError

DEFAULT_PRIORITY, LAST_PRIORITY = 5, 9
"""Priorities are 1 (first) to 9 (last), larger ones count as 9; 0, for not given, means 5."""

Array = NDArray[np.generic]
Tensors = Mapping[str, Array]

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Open Inference datatypes that NumPy has, little-endian as on the wire. NumPy has no BF16 and no BYTES."""


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ImageInstance:
    """An encoded image (JPEG, PNG, WebP), as read from its file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class LabelledImageInstance:
    """An encoded image, and the texts that it is compared with, as UTF-8 bytes."""

    image: bytes
    texts: tuple[bytes, ...]
    labels: tuple[str, ...] = ()
    """What the texts are called in the answer; empty where they are called by themselves."""


@dataclass(frozen=True, slots=True)
class FilteredImageInstance:
    """An encoded image, and the kernels that it is filtered with: float32 `[2, 3, 3]`."""

    data: bytes
    kernel: NDArray[np.float32]
    offset: float = 0.0
    """Added to the result, in grey levels."""


@dataclass(frozen=True, slots=True)
class TextInstance:
    """A text as UTF-8 bytes. The task decodes it and names the field if that fails."""

    data: bytes


@dataclass(frozen=True, slots=True)
class TextPairInstance:
    """Two texts that are read together, such as a premise and a hypothesis, as UTF-8 bytes."""

    text: bytes
    text_pair: bytes
    fields: tuple[str, str] | None = field(default=None, compare=False, repr=False)
    """The fields of the request that they come from, for errors, where the caller sent no pair."""


@dataclass(frozen=True, slots=True)
class RankingInstance:
    """A query, and documents to be ordered by relevance, as UTF-8 bytes."""

    query: bytes
    documents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AudioInstance:
    """An encoded sound (WAV, FLAC, OGG), as read from its file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SamplesInstance:
    """Decoded mono sound: float32 `[n]` in -1..1 at `sample_rate` hertz."""

    samples: NDArray[np.float32]
    sample_rate: int


@dataclass(frozen=True, slots=True)
class VideoInstance:
    """An encoded video (MP4, MOV, WebM, Matroska, AVI, MPEG-TS), as read from its file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class TensorInstance:
    """One row of the network's own tensors, by name, without the leading rows axis."""

    tensors: Tensors


@dataclass(frozen=True, slots=True)
class RowInstance:
    """One row of a table by column: numbers, texts, truth values, or None for an empty cell."""

    cells: Mapping[str, float | str | bool | None]


@dataclass(frozen=True, slots=True)
class SeriesInstance:
    """A time series, the oldest step first: float64 `[steps, channels]`."""

    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VolumeInstance:
    """A volume as the bytes of a NIfTI-1 file (`.nii`, `.nii.gz`)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class RecordInstance:
    """Several inputs of one instance, by name (`image`, `row`)."""

    parts: Mapping[str, Instance]


Instance = (
    ImageInstance
    | LabelledImageInstance
    | FilteredImageInstance
    | TextInstance
    | TextPairInstance
    | RankingInstance
    | AudioInstance
    | SamplesInstance
    | VideoInstance
    | TensorInstance
    | RowInstance
    | SeriesInstance
    | VolumeInstance
    | RecordInstance
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the answer. `None` means the task's default."""

    top_k: int | None = None
    """How many labels to give, best first (classification)."""
    threshold: float | None = None
    """Scores below this are left out (classification), count as silence (voice activity) or end no shot (shots of a video)."""
    max_new_tokens: int | None = None
    """How many tokens to add (text generation)."""
    temperature: float | None = None
    """0 takes the likeliest token each time; larger values choose less likely tokens more often (text generation)."""
    seed: int | None = None
    """Of the random choices (text generation)."""
    candidate_labels: tuple[str, ...] | None = None
    """The labels to choose from (zero-shot classification)."""
    hypothesis_template: str | None = None
    """A sentence about a label, which takes the place of `{}` (zero-shot classification)."""
    multi_label: bool | None = None
    """Whether each label is decided alone (zero-shot classification)."""
    kernel: str | None = None
    """Name of a kernel of 3 × 3, or its nine numbers, row by row (image filter)."""
    kernel_scale: float | None = None
    """The sum of products of a kernel is divided by it (image filter)."""
    kernel_offset: float | None = None
    """Added after that, in grey levels (image filter)."""
    attribute: bool | None = None
    """Whether to say which parts of the input the best label follows from (classification of images and texts)."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One request: a model, and the instances to predict."""

    model: str
    version: str
    """A number, an alias, or empty for the alias `stable`."""
    request_id: str
    instances: Sequence[Instance | InvalidInput]
    """An instance that could not be read is its error, in its place, and fails alone."""
    options: Options = field(default_factory=Options)
    deadline: float | None = None
    """Absolute, on the clock of `time.monotonic()`, seconds; `None` means the server's default timeout."""
    priority: int = 0
    """1 goes first, larger numbers later; 0 means the default (the scheduler has the bounds)."""
    paths: Sequence[str] = ()
    """Path of each instance in the caller's message, for error texts; empty means `instances[i]`."""

    def path(self, index: int) -> str:
        """Path of instance `index` in the caller's message."""
        return self.paths[index] if self.paths else f"instances[{index}]"


# ── rows in a queue ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Item:
    """One preprocessed input: a single row of every input tensor, without the rows axis."""

    tensors: Tensors
    length: int = 1
    """Cost along the padded axis (tokens, frames); 1 where nothing is padded."""
    notes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Notes of preprocessing for the caller, for example `{"truncated": True}`."""
    head: RunsOnFeatures | None = None
    """The head that answers from the backbone's features; None where the network's own outputs are the answer."""
    units: Units | None = None
    """The scaling of a series that the task has scaled; None where the tensors are in the caller's units."""
    image_size: tuple[int, int] | None = None
    """Width and height of an image as it was sent, upright, in pixels; None where the row is no raw image."""
    space: VolumeSpace | None = None
    """Where the voxels of a volume are; None where the row is no raw volume."""
    labels: tuple[str, ...] = ()
    """Names of the classes of this row alone; empty where the model names them, or where there are none."""


@dataclass(frozen=True, slots=True)
class Units:
    """The scaling of a series, float64 `[1, channels]` each: the original numbers are `scaled × scale + centre`."""

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VolumeSpace:
    """The place of a volume in space, by the header of its file."""

    affine: NDArray[np.float64]
    """`[4, 4]`, from indices of voxels in the file to places."""
    orientation: NDArray[np.float64]
    """`[3, 2]`: the axis of space and the direction of each axis of the file, as nibabel writes them."""
    millimetres: float
    """Of a unit of the affine."""


class RunsOnFeatures(Protocol):
    """A head on a shared backbone."""

    @property
    def name(self) -> str:
        """For logs."""

    def run(self, features: NDArray[np.float32], items: Sequence[Item]) -> dict[str, Array]:
        """Features of these items, `[rows, width]` → outputs by name, as many rows. Called in a lane; may raise anything."""


@dataclass(frozen=True, slots=True)
class Row:
    """The result of executing one item: a single row of every output tensor, and the facts of its batch."""

    tensors: Tensors
    batch: BatchReport


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Facts of one executed batch, shared by all its rows. Times are seconds on `time.monotonic()`."""

    started: float
    finished: float
    rows: int
    padding_ratio: float
    """Padded cells ÷ all cells along the padded axis; 0 where nothing is padded."""
    device: str
    precision: str
    lane: str = ""
    """The device's lane that ran it, by the name of its thread."""
    tier: str = ""
    """`eager` or `compiled`."""


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Label:
    """One class of a classification: its index in the logits, its name, its probability."""

    index: int
    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Classification:
    """The best labels, best first."""

    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Embedding:
    """A vector, float32 `[d]`."""

    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a sound, in seconds from its start, with the mean probability of its frames."""

    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True, slots=True)
class Segments:
    """The segments of a sound, and the probability of every frame (float32 `[frames]`)."""

    segments: tuple[Segment, ...]
    frame_s: float
    probabilities: NDArray[np.float32]
    duration_s: float


@dataclass(frozen=True, slots=True)
class Shot:
    """A shot of a video: its first and its last frame, counted from 0, and its times in seconds from the first frame."""

    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    cut_score: float | None = None
    """Probability of the cut or of the transition that ends it; None for a shot that the end of the video ends."""


@dataclass(frozen=True, slots=True)
class Shots:
    """The shots of a video in order of time, and the probability that a shot ends at a frame (float32 `[frames]`)."""

    shots: tuple[Shot, ...]
    frame_count: int
    duration_s: float
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NoteEvent:
    """A note of a piece of music, in seconds from the beginning of the sound."""

    start_s: float
    end_s: float
    pitch: int
    """As MIDI counts semitones: 69 is A4, 440 Hz."""
    name: str
    """Letter and octave, such as `A4` or `C#5`."""
    amplitude: float
    """Mean probability of its frames, 0..1, which is greater for louder notes."""
    velocity: int
    """The same as a velocity of MIDI, 1 to 127."""


@dataclass(frozen=True, slots=True)
class NoteEvents:
    """The notes of a piece of music in order of their beginning."""

    events: tuple[NoteEvent, ...]
    duration_s: float
    """Of the whole sound."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a text: its label, the mean probability of its tokens, its first character and the one after its last, counted
    in Unicode code points."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Entities:
    """The spans that were found, in order of the text."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True)
class TokenCandidate:
    """A token for a mask: its id, its text, its probability, and the text of the input with the token in place of the mask."""

    token_id: int
    token: str
    score: float
    sequence: str


@dataclass(frozen=True, slots=True)
class FilledMasks:
    """The likeliest tokens, best first, for each mask of a text in its order."""

    masks: tuple[tuple[TokenCandidate, ...], ...]


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document of a query: its place among the documents as they came, and its relevance as the network scores it."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The documents of a query, best first."""

    documents: tuple[RankedDocument, ...]


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """The text that a language model added to a prompt."""

    text: str
    tokens: int
    finish_reason: str
    """`length` or `stop`."""


@dataclass(frozen=True, slots=True)
class TranscriptChunk:
    """A part of a transcript, in seconds from the beginning of the sound."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a sound: all of it, and its parts in order of time."""

    text: str
    chunks: tuple[TranscriptChunk, ...]


@dataclass(frozen=True, slots=True)
class Regression:
    """A number in the units of the training data, and the interval that held 80 % of the held-out targets."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predicted steps of a series: float64 `[horizon, channels]` each."""

    values: NDArray[np.float64]
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright image as it was sent, from its upper left corner; it may reach beyond the edges."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One object in an image: the index and the name of its class, its score (0..1), and its box."""

    index: int
    name: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Detections:
    """The objects in an image, best first, and the size of the image in pixels."""

    objects: tuple[DetectedObject, ...]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Keypoint:
    """A point of a body: its index and name, its place in pixels of the upright image as it was sent, and its score (0..1).

    It may lie beyond the edges. Left and right in its name are those of the person.
    """

    index: int
    name: str
    x: float
    y: float
    score: float


@dataclass(frozen=True, slots=True)
class Keypoints:
    """Points of a body in an image, in the order of the network, and the size of the image in pixels."""

    points: tuple[Keypoint, ...]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SegmentedClass:
    """A class in an image: its index, its name, and the share (0..1) of the pixels that it covers."""

    index: int
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The class of each pixel of an image."""

    classes: tuple[SegmentedClass, ...]
    """Those that are present, the largest first."""
    mask: bytes
    """A grey PNG of the size of the image as it was sent, upright; its pixels, of 8 or 16 bits, are indices of classes."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class TransformedImage:
    """The image that a network made of another one."""

    image: bytes
    """A PNG, RGB with 8 bits a channel."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SegmentedRegion:
    """An object in a volume."""

    index: int
    """Of its voxels in the mask."""
    name: str
    voxels: int
    millilitres: float
    start: tuple[int, int, int]
    """The first voxel of its box on each axis of the file."""
    end: tuple[int, int, int]
    """One past the last."""


@dataclass(frozen=True, slots=True)
class VolumeSegmentation:
    """The objects in a volume."""

    regions: tuple[SegmentedRegion, ...]
    """Those that were found."""
    mask: bytes
    """A NIfTI-1 file (`.nii.gz`), uint8, with the shape and the affine of the input: 0 where no object is."""
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class OutputTensors:
    """The outputs of a network whose task has no answer for people: one row of each, by name."""

    tensors: Tensors


Answer = (
    Classification
    | Embedding
    | Segments
    | Shots
    | NoteEvents
    | Transcript
    | Entities
    | FilledMasks
    | Ranking
    | GeneratedText
    | Regression
    | Forecast
    | Detections
    | Keypoints
    | Segmentation
    | TransformedImage
    | VolumeSegmentation
    | OutputTensors
    | Transcript
)


@dataclass(
    slots=True
)  # not frozen: each request makes one, and a frozen dataclass sets its fields several times as slowly
class Timing:
    """The stages of a request, in seconds; of several instances, those of the slowest. Nothing changes one."""

    preprocess_s: float = 0.0
    queue_s: float = 0.0
    execute_s: float = 0.0
    postprocess_s: float = 0.0
    batch_rows: int = 0
    """Rows of the batch of the slowest instance; of the largest batch, where its part of the request ran in several."""
    padding_ratio: float = 0.0
    device: str = ""
    precision: str = ""
    began: float = 0.0
    """When preprocessing began, or the wait in the queue where nothing is preprocessed; on `time.monotonic()`."""
    postprocess_began: float = 0.0
    """When postprocessing began, on the same clock. Between the end of the batch and then the event loop served others."""
    batch: BatchReport | None = None
    """The last batch of the slowest instance; None where none ran."""


@dataclass(frozen=True, slots=True)
class WordWeight:
    """A part of a text, in Unicode code points, and the probability that a label loses without it."""

    start: int
    end: int
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The probability that a label loses where cells of an image are hidden."""

    weights: NDArray[np.float32]
    """`[rows, columns]`, from the upper left corner of the area."""
    xmin: float
    """The area that the network sees, in pixels of the upright image."""
    ymin: float
    xmax: float
    ymax: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """From which parts of its input a label follows."""

    label: Label
    """The best one."""
    words: tuple[WordWeight, ...] = ()
    """Of a text, in its order."""
    heat_map: HeatMap | None = None
    """Of an image."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one instance: its output tensors, and the answer for people unless the caller wants tensors only."""

    tensors: Tensors
    answer: Answer | None = None
    notes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    attribution: Attribution | None = None
    """Where `Options.attribute` asked for it."""


@dataclass(frozen=True, slots=True)
class InferReply:
    """As many predictions as instances, in their order; a failed instance has its own error."""

    model: str
    version: int
    request_id: str
    predictions: Sequence[Prediction | ZooError]
    timing: Timing
