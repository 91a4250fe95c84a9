"""The golden cases of a card, sent to a running server as raw input, and the judgement of its answers.

The task of the card judges, as when a server loads the model; only the answers come over the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    ContinuationExpectation,
    DetectionExpectation,
    EmbeddingExpectation,
    ForecastExpectation,
    GoldenCase,
    GoldenInput,
    ImageExpectation,
    KeypointsExpectation,
    NotesExpectation,
    NumberExpectation,
    SegmentationExpectation,
    ShotsExpectation,
    SpeechExpectation,
    TensorsExpectation,
    WrittenExpectation,
)
from model_zoo.golden.seeded_tensors import spread
from service import types

if TYPE_CHECKING:
    from service.client.results import Result
    from service.tasks.base import Task

Ask = Callable[[list[Any], dict[str, Any]], Sequence[Any]]
"""Inputs and options of a call → the results of `Client.predict`. Raises ZooClientError."""

NAMES = {"Tensors": "OutputTensors"}
"""Results of the SDK whose answer has another name."""
_LONGEST_TEXT = 40
"""Characters of an input text that a line repeats."""


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """One golden case and the server's answer to it."""

    input: str
    """The input in words."""
    figures: str
    """What the server answered, with the bound; empty if it gave no answer."""
    problem: str
    """What is wrong, with figures; empty for a right answer."""


def run_case(task: Task, case: GoldenCase, ask: Ask) -> CaseOutcome:
    """Asks the server and judges its answer. Raises ZooClientError where the call as a whole fails."""
    from service.client.errors import PredictionError

    texts = list(task.golden_texts(case.expect))
    inputs = [_value(task.golden_instance(case.input)), *texts]
    options = {name: value for name, value in asdict(task.golden_options()).items() if value is not None}
    if case.input.candidate_labels:
        options["candidate_labels"] = case.input.candidate_labels
    if case.input.kernel:
        options["kernel"] = case.input.kernel
    results = ask(inputs, options)
    shown = _shown(case.input)
    for result in results:
        if isinstance(result, PredictionError):
            return CaseOutcome(shown, "", str(result))
    try:
        answer, *others = map(answer_of, results)
        problem = task.golden_problem(case.expect, answer, dict(zip(texts, others, strict=True)))
    except (AssertionError, TypeError):
        return CaseOutcome(shown, "", f"the answer is of another kind ({type(results[0]).__name__})")
    return CaseOutcome(shown, _figures(case.expect, results[0]), problem or "")


def answer_of(result: Result) -> types.Answer:
    """A result of the SDK as the answer that the server had: the types have the same names and fields.

    Raises TypeError for a result that is no answer.
    """
    kind: Any = getattr(types, NAMES.get(type(result).__name__, type(result).__name__), None)
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise TypeError(f"{type(result).__name__} is no answer")
    answer: types.Answer = kind(**{field.name: getattr(result, field.name) for field in fields(kind)})  # type: ignore[assignment]
    return answer


def _value(instance: types.Instance) -> Any:
    """An instance as the SDK takes it."""
    if isinstance(instance, types.TextInstance):
        return instance.data.decode()
    if isinstance(instance, types.ImageInstance | types.AudioInstance | types.VideoInstance | types.VolumeInstance):
        return instance.data
    if isinstance(instance, types.LabelledImageInstance):
        return instance.image
    if isinstance(instance, types.FilteredImageInstance):
        return instance.data
    if isinstance(instance, types.SamplesInstance):
        return instance
    if isinstance(instance, types.RowInstance):
        return dict(instance.cells)
    if isinstance(instance, types.SeriesInstance):
        return instance.values
    if isinstance(instance, types.RecordInstance):
        return {name: _value(part) for name, part in instance.parts.items()}
    if isinstance(instance, types.TensorInstance):
        return dict(instance.tensors)
    # What is compared is what a caller gives; the rest is for messages.
    values = {field.name: getattr(instance, field.name) for field in fields(instance) if field.compare}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def _shown(given: GoldenInput) -> str:
    if given.file is not None:
        beside = f" by {given.kernel}" if given.kernel else "" if given.row is None else f" with {_cells(given.row)}"
        return f"{given.file}{beside}"
    if given.noise is not None:
        what = "noise" if given.noise.amplitude else "silence"
        return f"{given.noise.seconds:g} s of {what}"
    if given.tones is not None:
        return given.tones.in_words
    if given.row is not None:
        return _cells(given.row)
    if given.series is not None:
        return f"a series of {len(given.series)} steps"
    if given.text is None:
        return f"tensors of seed {getattr(given, 'seed', None)}"
    return repr(_cut(given.text))


def _cells(row: Mapping[str, object]) -> str:
    return _cut(", ".join(f"{column} {cell}" for column, cell in row.items()))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _figures(expect: object, result: Any) -> str:
    """The answer beside what was expected. Kinds of answer that are not named here are judged all the same."""
    match expect:
        case ClassificationExpectation():
            best = result.labels[0]
            return f"{best.name} {best.score:.3f}, at least {expect.min_score:g}"
        case EmbeddingExpectation():
            off = float(np.abs(result.values[: len(expect.values)] - np.asarray(expect.values)).max())
            return f"off by {off:.2g}, allowed {expect.tolerance:.2g}"
        case SpeechExpectation():
            found = ", ".join(f"{segment.start_s:.2f} to {segment.end_s:.2f} s" for segment in result.segments)
            return f"speech at {found}" if found else "no speech"
        case NotesExpectation():
            return ", ".join(f"{one.name} at {one.start_s:.2f} s" for one in result.events) or "no notes"
        case NumberExpectation():
            return f"{result.value:,.6g}, expected {expect.number:,.6g}"
        case ForecastExpectation():
            expected = np.asarray(expect.forecast)
            off = float(np.abs(result.values[: len(expected)] - expected).max())
            return f"off by {off:.2g}, allowed {expect.tolerance:.2g}"
        case ContinuationExpectation() | WrittenExpectation():
            return f"writes {result.text[:_LONGEST_TEXT]!r}"
        case DetectionExpectation():
            return f"{len(result.objects)} objects, {len(expect.objects)} to {expect.at_most} expected"
        case KeypointsExpectation():
            return f"{len(result.points)} points, {len(expect.keypoints)} to {expect.at_most} expected"
        case SegmentationExpectation():
            first = result.classes[0]
            return f"{first.name} on {first.share:.1%}, expected {expect.shares.get(first.name, 0.0):.1%}"
        case ShotsExpectation():
            cuts = ", ".join(f"{one.end_frame:,}" for one in result.shots[:-1])
            return f"{len(result.shots)} shots in {result.frame_count:,} frames, cuts after {cuts}"
        case ImageExpectation():
            return f"an image of {result.width} × {result.height} pixels"
        case TensorsExpectation():
            name, values = next(iter(expect.outputs.items()))
            off = float(np.abs(spread(result.tensors[name]) - np.asarray(values.values)).max(initial=0.0))
            return f"{name} is off by {off:.2g}, allowed {values.tolerance:.2g}"
    return "answered"
