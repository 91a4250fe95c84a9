"""Results of predictions: one typed, frozen result for each input, or a PredictionError in its place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service import types
from service.client.errors import PredictionError, ZooClientError, prediction_error
from service.client.outputs.midi import midi_file
from service.client.tensors import arrays
from service.pb import prediction_pb2 as pb
from service.protobuf_values import seconds, struct_dict
from service.types import (
    Box,
    DetectedObject,
    Entity,
    Keypoint,
    Label,
    NoteEvent,
    RankedDocument,
    Segment,
    SegmentedClass,
    SegmentedRegion,
    Shot,
    Timing,
    TokenCandidate,
    TranscriptChunk,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """Fields of every result."""

    model: str
    version: int
    """Number of the version that answered."""
    timing: Timing
    """Timing of the whole call in seconds, and the size of its batch."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """Remarks of preprocessing, for example `{"truncated": True}`."""
    outputs: types.Tensors = field(default_factory=dict)
    """The network's output tensors if `include_tensors` was set."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classification(Result):
    """Labels, best first."""

    labels: tuple[Label, ...]
    attribution: types.Attribution | None = None
    """From which parts of the input the best label follows, if `attribute` was set."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding(Result):
    """A vector, float32 `[d]`."""

    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segments(Result):
    """Segments of a sound in order of time, and the probability of every frame (float32 `[frames]`)."""

    segments: tuple[Segment, ...]
    frame_s: float
    probabilities: NDArray[np.float32]
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shots(Result):
    """The shots of a video in order of time, and the probability that a shot ends at a frame (float32 `[frames]`)."""

    shots: tuple[Shot, ...]
    frame_count: int
    duration_s: float
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoteEvents(Result):
    """The notes of a piece of music in order of their beginning."""

    events: tuple[NoteEvent, ...]
    duration_s: float
    """Of the whole sound."""

    @property
    def midi(self) -> bytes:
        """The notes as a Standard MIDI File, for one piano."""
        return midi_file(self.events)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entities(Result):
    """Labelled spans of a text, in its order."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilledMasks(Result):
    """The likeliest tokens, best first, for each mask of a text in its order."""

    masks: tuple[tuple[TokenCandidate, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking(Result):
    """Documents of a query, best first."""

    documents: tuple[RankedDocument, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeneratedText(Result):
    """A continuation of the input text."""

    text: str
    """The generated text without the input."""
    tokens: int
    """Number of generated tokens (characters for a character model)."""
    finish_reason: str
    """`length` if the limit was reached, `stop` if the model ended the text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transcript(Result):
    """What was said in a sound."""

    text: str
    """All of it."""
    chunks: tuple[TranscriptChunk, ...]
    """Its parts in order of time: words, or sentences and the like, as the model tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regression(Result):
    """A number in the units of the training data."""

    value: float
    lower: float | None = None
    """Lower end of the interval that held 80 % of the held-out targets; None if unknown."""
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast(Result):
    """Future values, float64 `[steps ahead, channels]`, the next first."""

    values: NDArray[np.float64]
    lower: NDArray[np.float64] | None = None
    """Lower ends of the intervals that held 80 % of the held-out values, step by step; None if unknown."""
    upper: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections(Result):
    """The objects in an image, best first; boxes are in pixels of the upright image."""

    objects: tuple[DetectedObject, ...]
    width: int
    """Of the image as it was sent, in pixels."""
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keypoints(Result):
    """Points of a body in an image, in the order of the network, in pixels of the upright image."""

    points: tuple[Keypoint, ...]
    width: int
    """Of the image as it was sent, in pixels."""
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segmentation(Result):
    """The class of each pixel of an image."""

    classes: tuple[SegmentedClass, ...]
    """Those that are present, the largest first, with the share of the image that each covers."""
    mask: bytes
    """A grey PNG of the size of the upright image; its pixels, of 8 or 16 bits, are indices of classes."""
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransformedImage(Result):
    """The image that a network made of another one."""

    image: bytes
    """A PNG, RGB with 8 bits a channel."""
    width: int
    """In pixels."""
    height: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the PNG to a file, in place of one that is there."""
        Path(path).write_bytes(self.image)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumeSegmentation(Result):
    """The objects in a volume."""

    regions: tuple[SegmentedRegion, ...]
    """Those that were found; empty where the network finds nothing."""
    mask: bytes
    """A NIfTI-1 file (`.nii.gz`), uint8, with the shape and the affine of the input; its voxels are indices of regions."""
    shape: tuple[int, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the mask to a file (`.nii.gz`), in place of one that is there."""
        Path(path).write_bytes(self.mask)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensors(Result):
    """The network's outputs for an input given as tensors, without the leading rows axis."""

    tensors: types.Tensors


Outcome = Result | PredictionError


def read_response(response: pb.PredictResponse, expected: int, first: int = 0) -> list[Outcome]:
    """One outcome for each input, in their order; `first` is the index of the first among all inputs. Raises ZooClientError
    if the server returned another number."""
    if len(response.predictions) != expected:
        count = len(response.predictions)
        raise ZooClientError(f"the server gave {count} answers to {expected} inputs", code="INTERNAL")
    timing = _timing(response.timing)
    return [_outcome(p, response, timing, first + i) for i, p in enumerate(response.predictions)]


def raise_if_all_failed(outcomes: Sequence[Outcome]) -> None:
    """Raises the first error if no input has an answer."""
    if outcomes and all(isinstance(outcome, PredictionError) for outcome in outcomes):
        first = outcomes[0]
        assert isinstance(first, PredictionError)
        raise first


def _attribution(message: pb.Attribution) -> types.Attribution:
    label, cells = message.label, message.heat_map
    best = Label(label.index, label.name, label.score)
    words = tuple(types.WordWeight(word.start, word.end, word.text, word.weight) for word in message.words)
    if not message.HasField("heat_map"):
        return types.Attribution(best, words)
    weights = np.array(cells.weights, np.float32).reshape(cells.rows, cells.columns)
    area = (cells.area.xmin, cells.area.ymin, cells.area.xmax, cells.area.ymax)
    return types.Attribution(best, words, types.HeatMap(weights, *area))


def _outcome(message: pb.PredictionResult, response: pb.PredictResponse, timing: Timing, index: int) -> Outcome:
    kind = message.WhichOneof("result")
    model, version, notes = response.model, response.version, struct_dict(message.notes)
    outputs = arrays(message.outputs)
    match kind:
        case "error":
            return prediction_error(message.error, index)
        case "classification":
            labels = tuple(Label(x.index, x.name, x.score) for x in message.classification.labels)
            found = _attribution(message.attribution) if message.HasField("attribution") else None
            return Classification(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                labels=labels,
                attribution=found,
            )
        case "embedding":
            vector = np.array(message.embedding.values, np.float32)
            return Embedding(model=model, version=version, timing=timing, notes=notes, outputs=outputs, values=vector)
        case "segments":
            sound = message.segments
            return Segments(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                segments=tuple(Segment(seconds(s.start), seconds(s.end), s.score) for s in sound.segments),
                frame_s=seconds(sound.frame_duration),
                probabilities=np.array(sound.frame_probabilities, np.float32),
                duration_s=seconds(sound.duration),
            )
        case "shots":
            video = message.shots
            return Shots(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                shots=tuple(_shot(found) for found in video.shots),
                frame_count=video.frame_count,
                duration_s=seconds(video.duration),
                probabilities=np.array(video.cut_probabilities, np.float32),
            )
        case "note_events":
            music = message.note_events
            return NoteEvents(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                events=tuple(
                    NoteEvent(seconds(x.start), seconds(x.end), x.pitch, x.name, x.amplitude, x.velocity)
                    for x in music.events
                ),
                duration_s=seconds(music.duration),
            )
        case "entities":
            spans = tuple(Entity(x.label, x.score, x.start, x.end, x.text) for x in message.entities.entities)
            return Entities(model=model, version=version, timing=timing, notes=notes, outputs=outputs, entities=spans)
        case "filled_masks":
            masks = tuple(
                tuple(TokenCandidate(x.token_id, x.token, x.score, x.sequence) for x in mask.candidates)
                for mask in message.filled_masks.masks
            )
            return FilledMasks(model=model, version=version, timing=timing, notes=notes, outputs=outputs, masks=masks)
        case "ranking":
            ranked = tuple(RankedDocument(x.index, x.score) for x in message.ranking.documents)
            return Ranking(model=model, version=version, timing=timing, notes=notes, outputs=outputs, documents=ranked)
        case "regression":
            number = message.regression
            return Regression(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                value=number.value,
                lower=number.lower if number.HasField("lower") else None,
                upper=number.upper if number.HasField("upper") else None,
            )
        case "forecast":
            ahead = message.forecast
            return Forecast(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                values=_steps(ahead.values, ahead.channels),
                lower=_steps(ahead.lower, ahead.channels) if ahead.lower else None,
                upper=_steps(ahead.upper, ahead.channels) if ahead.upper else None,
            )
        case "detections":
            picture = message.detections
            return Detections(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                objects=tuple(_detected(found) for found in picture.objects),
                width=picture.image_width,
                height=picture.image_height,
            )
        case "keypoints":
            body = message.keypoints
            return Keypoints(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                points=tuple(Keypoint(p.index, p.name, p.x, p.y, p.score) for p in body.keypoints),
                width=body.image_width,
                height=body.image_height,
            )
        case "segmentation":
            parts = message.segmentation
            return Segmentation(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                classes=tuple(SegmentedClass(x.index, x.name, x.share) for x in parts.classes),
                mask=parts.mask,
                width=parts.image_width,
                height=parts.image_height,
            )
        case "image":
            made = message.image
            return TransformedImage(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                image=made.image,
                width=made.width,
                height=made.height,
            )
        case "volume":
            volume = message.volume
            return VolumeSegmentation(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                regions=tuple(_region(one) for one in volume.regions),
                mask=volume.mask,
                shape=tuple(volume.shape),
            )
        case "text":
            written = message.text
            return GeneratedText(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                text=written.text,
                tokens=written.token_count,
                finish_reason=written.finish_reason,
            )
        case "transcript":
            said = message.transcript
            return Transcript(
                model=model,
                version=version,
                timing=timing,
                notes=notes,
                outputs=outputs,
                text=said.text,
                chunks=tuple(TranscriptChunk(c.text, seconds(c.start), seconds(c.end)) for c in said.chunks),
            )
        case "tensors":
            tensors = arrays(message.tensors)
            return Tensors(model=model, version=version, timing=timing, notes=notes, outputs=outputs, tensors=tensors)
        case _:
            text = "the server answered with a kind of result that this client is too old to read"
            error = PredictionError(text, code="UNIMPLEMENTED", reason="UNKNOWN_RESULT")
            error.index = index
            return error


def _detected(message: pb.DetectedObject) -> DetectedObject:
    box = Box(message.box.xmin, message.box.ymin, message.box.xmax, message.box.ymax)
    return DetectedObject(message.index, message.name, message.score, box)


def _shot(message: pb.Shot) -> Shot:
    score = message.cut_score if message.HasField("cut_score") else None
    return Shot(message.start_frame, message.end_frame, seconds(message.start), seconds(message.end), score)


def _region(message: pb.SegmentedRegion) -> SegmentedRegion:
    x, y, z = (*message.start, 0, 0, 0)[:3]
    after_x, after_y, after_z = (*message.end, 0, 0, 0)[:3]
    numbers = (message.index, message.name, message.voxels, message.millilitres)
    return SegmentedRegion(*numbers, (x, y, z), (after_x, after_y, after_z))


def _steps(values: Sequence[float], channels: int) -> NDArray[np.float64]:
    width = max(1, channels)
    if len(values) % width:
        raise ZooClientError(f"the server sent {len(values)} numbers for steps of {width}", code="INTERNAL")
    return np.array(values, np.float64).reshape(-1, width)


def _timing(message: pb.Timing) -> Timing:
    return Timing(
        preprocess_s=seconds(message.preprocess),
        queue_s=seconds(message.queue),
        execute_s=seconds(message.execute),
        postprocess_s=seconds(message.postprocess),
        batch_rows=message.batch_rows,
        padding_ratio=message.padding_ratio,
        device=message.device,
        precision=message.precision,
    )
