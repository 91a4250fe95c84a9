"""Answers of `zoo predict`: tables for people, a line of JSON for each input for programs."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress_bar import ProgressBar
from rich.text import Text

from service.cli.rendering import attributions
from service.cli.rendering.attributions import attribution_lines
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_table,
    stdout_console,
)
from service.client import (
    Box,
    Classification,
    Detections,
    Embedding,
    Entities,
    FilledMasks,
    Forecast,
    GeneratedText,
    Keypoints,
    NoteEvents,
    Outcome,
    PredictionError,
    Ranking,
    Regression,
    Result,
    Segmentation,
    SegmentedRegion,
    Segments,
    Shots,
    Tensors,
    Transcript,
    TransformedImage,
    VolumeSegmentation,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

NamedOutcome = tuple[str, Outcome]
"""The name of an input, and its result or error."""

_BAR_WIDTH = 24
_MOST_IN_MATRIX = 12
"""Texts whose matrix of similarities fits on a screen; with more, each text is shown with the one nearest to it."""
_FIRST_VALUES = 6
_LONGEST_NAME = 80
"""Characters of a path or text before its answer; --json has all of them."""
_MOST_STEPS = 24
_SCIENTIFIC = (1e-6, 1e12)
"""Widths of an interval outside these bounds are written with an exponent."""


def error_text(error: PredictionError) -> str:
    """Why an input failed, without the field path: the command builds the request, not the user."""
    if error.violations and error.field.startswith("instances[") and error.violations[0].description:
        return error.violations[0].description
    return error.message


def as_json(name: str, outcome: Outcome, timing: bool) -> dict[str, Any]:
    """One line of `--json`: `input`, then either `error` or the answer."""
    if isinstance(outcome, PredictionError):
        error = {"code": outcome.code, "reason": outcome.reason, "field": outcome.field, "message": outcome.message}
        return {"input": name, "error": error}
    line: dict[str, Any] = {"input": name, "model": outcome.model, "version": outcome.version}
    match outcome:
        case Classification():
            line["labels"] = [asdict(label) for label in outcome.labels]
            if outcome.attribution is not None:
                line["attribution"] = attributions.as_json(outcome.attribution)
        case Embedding():
            line["embedding"] = outcome.values.tolist()
        case Segments():
            line["segments"] = [asdict(segment) for segment in outcome.segments]
            line["duration_s"] = outcome.duration_s
            line["frame_s"] = outcome.frame_s
            line["frame_probabilities"] = outcome.probabilities.tolist()
        case Shots():
            line["shots"] = [asdict(shot) for shot in outcome.shots]
            line |= {"frames": outcome.frame_count, "duration_s": outcome.duration_s}
            line["cut_probabilities"] = outcome.probabilities.tolist()
        case NoteEvents():
            line["note_events"] = [asdict(one) for one in outcome.events]
            line["duration_s"] = outcome.duration_s
        case Entities():
            line["entities"] = [asdict(one) for one in outcome.entities]
        case FilledMasks():
            line["masks"] = [[asdict(one) for one in candidates] for candidates in outcome.masks]
        case Ranking():
            line["ranking"] = [asdict(one) for one in outcome.documents]
        case GeneratedText():
            line |= {"text": outcome.text, "tokens": outcome.tokens, "finish_reason": outcome.finish_reason}
        case Transcript():
            line |= {"text": outcome.text, "chunks": [asdict(chunk) for chunk in outcome.chunks]}
        case Regression():
            line |= {"value": outcome.value, "lower": outcome.lower, "upper": outcome.upper}
        case Forecast():
            line["forecast"] = outcome.values.tolist()
            line["lower"] = None if outcome.lower is None else outcome.lower.tolist()
            line["upper"] = None if outcome.upper is None else outcome.upper.tolist()
        case Detections():
            line["objects"] = [asdict(found) for found in outcome.objects]
            line["image"] = {"width": outcome.width, "height": outcome.height}
        case Keypoints():
            line["keypoints"] = [asdict(point) for point in outcome.points]
            line["image"] = {"width": outcome.width, "height": outcome.height}
        case Segmentation():
            line["classes"] = [asdict(one) for one in outcome.classes]
            line["image"] = {"width": outcome.width, "height": outcome.height}
            line["mask_png"] = base64.b64encode(outcome.mask).decode()
        case TransformedImage():
            line["image"] = {"width": outcome.width, "height": outcome.height}
            line["image_png"] = base64.b64encode(outcome.image).decode()
        case VolumeSegmentation():
            line["regions"] = [asdict(one) for one in outcome.regions]
            line["shape"] = list(outcome.shape)
            line["mask_nifti"] = base64.b64encode(outcome.mask).decode()
        case Tensors():
            line["tensors"] = {key: array.tolist() for key, array in outcome.tensors.items()}
    line["notes"] = dict(outcome.notes)
    if timing:
        line["timing"] = asdict(outcome.timing)
    return line


def print_answers(rows: Sequence[NamedOutcome], timing: bool, *, drawn: bool = False) -> None:
    """All rows as tables, in their order. `drawn`: whether the pictures of the answers are written to a folder."""
    if not rows:
        return
    vectors = [(name, outcome.values) for name, outcome in rows if isinstance(outcome, Embedding)]
    compared = len(vectors) > 1 and len({len(values) for _, values in vectors}) == 1
    if compared:
        print_table(_similarities(vectors))
    rows_left = [row for row in rows if not (compared and isinstance(row[1], Embedding)) or row[1].notes]
    if rows_left:
        print_table(_answers(rows_left, compared, bars=stdout_console().is_terminal, drawn=drawn))
    if timing and any(isinstance(outcome, Result) for _, outcome in rows):
        print_table(_timings(rows))


def _answers(rows: Sequence[NamedOutcome], compared: bool, bars: bool, drawn: bool) -> RenderableType:
    """A row for each answer and each note; vectors in the table of similarities have only their notes here."""
    scored = any(
        isinstance(
            outcome,
            Classification | Detections | Entities | FilledMasks | Keypoints | NoteEvents | Ranking | Segments | Shots,
        )
        for _, outcome in rows
    )
    answers = new_table("input", "answer", *(("score", "") if scored else ()), right=("score",))
    for name, outcome in rows:
        first = escaped(_shortened(name))
        for answer, score in () if compared and isinstance(outcome, Embedding) else _answer_lines(outcome, drawn):
            bar: RenderableType = "" if score is None or not bars else _bar(score)
            answers.add_row(first, answer, *(("" if score is None else f"{score:.3f}", bar) if scored else ()))
            first = ""
        if isinstance(outcome, Result) and outcome.notes:
            notes = ", ".join(f"{key}: {value}" for key, value in outcome.notes.items())
            answers.add_row(first, Text(f"note: {escaped(notes)}", style="dim"))
    return answers


def _shortened(name: str) -> str:
    """The beginning and the end of a long path or text."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 3) // 2
    return f"{name[:half]} … {name[-half:]}"


def _answer_lines(outcome: Outcome, drawn: bool) -> list[tuple[Text, float | None]]:
    match outcome:
        case PredictionError():
            return [(Text(escaped(error_text(outcome)), style="red"), None)]
        case Classification(labels=()):
            return [(Text("no label reaches the threshold", style="dim"), None)]
        case Classification():
            lines: list[tuple[Text, float | None]] = [(Text(escaped(x.name)), x.score) for x in outcome.labels]
            if outcome.attribution is not None:
                lines[1:1] = [(Text(f"  {x}", style="dim"), None) for x in attribution_lines(outcome.attribution)]
            return lines
        case Segments(segments=()):
            return [(Text(f"nothing found in {outcome.duration_s:.2f} s", style="dim"), None)]
        case Segments():
            return [(Text(f"{part.start_s:.2f} to {part.end_s:.2f} s"), part.score) for part in outcome.segments]
        case Shots():
            return [
                (
                    Text(
                        f"{shot.start_s:.2f} to {shot.end_s:.2f} s, frames {shot.start_frame:,} to {shot.end_frame:,}"
                    ),
                    shot.cut_score,
                )
                for shot in outcome.shots
            ]
        case NoteEvents(events=()):
            return [(Text(f"no notes in {outcome.duration_s:.2f} s", style="dim"), None)]
        case NoteEvents():
            return [(Text(f"{x.start_s:.2f} to {x.end_s:.2f} s  {x.name}"), x.amplitude) for x in outcome.events]
        case Entities(entities=()):
            return [(Text("nothing found", style="dim"), None)]
        case Entities():
            return [(Text(escaped(f"{x.label} {x.text!r} at {x.start} to {x.end}")), x.score) for x in outcome.entities]
        case FilledMasks():
            number = len(outcome.masks) > 1
            return [
                (Text(escaped(f"{f'mask {i}: ' if number else ''}{x.token!r}: {x.sequence}")), x.score)
                for i, candidates in enumerate(outcome.masks, 1)
                for x in candidates
            ]
        case Ranking(documents=(document,)):
            return [(Text("relevance"), document.score)]
        case Ranking():
            return [(Text(f"document {document.index + 1}"), document.score) for document in outcome.documents]
        case Embedding():
            values = " ".join(f"{value:+.4f}" for value in outcome.values[:_FIRST_VALUES])
            return [(Text(f"{values} … ({len(outcome.values)} values)"), None)]
        case GeneratedText():
            return [(Text(escaped(outcome.text)), None)]
        case Transcript(chunks=()):
            return [(Text(escaped(outcome.text)) if outcome.text else Text("nothing was said", style="dim"), None)]
        case Transcript():
            return [
                (Text(f"{chunk.start_s:.2f} to {chunk.end_s:.2f} s  {escaped(chunk.text)}"), None)
                for chunk in outcome.chunks
            ]
        case Regression():
            return [(Text(format_interval(outcome.value, outcome.lower, outcome.upper)), None)]
        case Forecast():
            return [(Text(line), None) for line in _steps(outcome)]
        case Detections(objects=()):
            return [(Text("no object reaches the threshold", style="dim"), None)]
        case Detections():
            return [(Text(f"{escaped(found.name)} at {_box(found.box)}"), found.score) for found in outcome.objects]
        case Keypoints(points=()):
            return [(Text("no point reaches the threshold", style="dim"), None)]
        case Keypoints():
            return [(Text(f"{escaped(x.name)} at ({x.x:.0f}, {x.y:.0f})"), x.score) for x in outcome.points]
        case Segmentation():
            return [(Text(f"{escaped(one.name)} on {one.share:.1%} of the image"), None) for one in outcome.classes]
        case TransformedImage():
            hint = "" if drawn else "; --draw DIR saves it"
            return [(Text(f"an image of {outcome.width} × {outcome.height} pixels{hint}"), None)]
        case VolumeSegmentation(regions=()):
            return [(Text("nothing was found", style="dim"), None)]
        case VolumeSegmentation():
            return [(Text(_region(one)), None) for one in outcome.regions]
        case Tensors():
            shapes = [(key, f"{array.dtype} {list(array.shape)}") for key, array in outcome.tensors.items()]
            return [(Text(escaped(f"{key} {shape}")), None) for key, shape in shapes]
        case _:
            return [(Text("this command cannot show an answer of this kind; try --json"), None)]


def _box(box: Box) -> str:
    """The corners of a box in whole pixels."""
    return f"({box.xmin:.0f}, {box.ymin:.0f}) to ({box.xmax:.0f}, {box.ymax:.0f})"


def _region(region: SegmentedRegion) -> str:
    """The volume of an object and its box in voxels."""
    edges = (f"{start} to {end - 1}" for start, end in zip(region.start, region.end, strict=True))
    return f"{escaped(region.name)} of {region.millilitres:,.1f} ml, in the voxels {', '.join(edges)}"


def format_interval(value: float, lower: float | None, upper: float | None) -> str:
    """A value and its interval with significant digits only: to a hundredth of the interval's width."""
    if lower is None or upper is None:
        return f"{value:.6g}"
    width = upper - lower
    if not _SCIENTIFIC[0] < width < _SCIENTIFIC[1]:
        return f"{value:.6g}  (80 %: {lower:.6g} to {upper:.6g})"
    decimals = max(0, 2 - math.floor(math.log10(width)))
    value, lower, upper = (round(number, decimals) for number in (value, lower, upper))
    return f"{value:.12g}  (80 %: {lower:.12g} to {upper:.12g})"


def _steps(outcome: Forecast) -> list[str]:
    """A line for each step ahead, with its channels side by side; of many steps the first, and the number of the others."""
    unknown = np.full(outcome.values.shape, None)
    lower = unknown if outcome.lower is None else outcome.lower
    upper = unknown if outcome.upper is None else outcome.upper
    lines = []
    for ahead, step in enumerate(zip(outcome.values[:_MOST_STEPS], lower, upper, strict=False), start=1):
        channels = [format_interval(*channel) for channel in zip(*step, strict=True)]
        lines.append(f"{ahead:+d}  {'; '.join(channels)}")
    rest = len(outcome.values) - _MOST_STEPS
    return lines + ([f"and {rest} steps more; --json shows all"] if rest > 0 else [])


def _similarities(vectors: Sequence[tuple[str, Any]]) -> RenderableType:
    matrix = np.stack([values for _, values in vectors]).astype(np.float64)
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    cosines = matrix @ matrix.T  # (texts, texts)
    if len(vectors) > _MOST_IN_MATRIX:
        similarities = new_table("#", "text", "most like", "cosine", right=("#", "cosine"))
        np.fill_diagonal(cosines, -np.inf)
        for i, (name, _) in enumerate(vectors):
            nearest = int(np.argmax(cosines[i]))
            similarities.add_row(str(i + 1), escaped(name), escaped(vectors[nearest][0]), f"{cosines[i, nearest]:.3f}")
        return similarities
    numbers = tuple(str(i + 1) for i in range(len(vectors)))
    similarities = new_table("cosine", "text", *numbers, right=("cosine", *numbers))
    for i, (name, _) in enumerate(vectors):
        similarities.add_row(numbers[i], escaped(name), *(f"{cosine:.3f}" for cosine in cosines[i]))
    return similarities


def _timings(rows: Sequence[NamedOutcome]) -> RenderableType:
    stages = ("preprocess ms", "queue ms", "execute ms", "postprocess ms", "batch rows", "padding")
    timings = new_table("input", *stages, "device", right=stages)
    for name, outcome in rows:
        if isinstance(outcome, Result):
            t = outcome.timing
            times = (f"{s * 1000:.1f}" for s in (t.preprocess_s, t.queue_s, t.execute_s, t.postprocess_s))
            device = escaped(f"{t.device} {t.precision}")
            timings.add_row(escaped(name), *times, str(t.batch_rows), f"{t.padding_ratio:.0%}", device)
    return timings


def _bar(score: float) -> RenderableType:
    return ProgressBar(total=1.0, completed=min(max(score, 0.0), 1.0), width=_BAR_WIDTH)
