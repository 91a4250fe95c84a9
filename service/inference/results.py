"""Parts of a request: instances that are preprocessed together, the outcome of each, and how long the part took."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from model_zoo.errors import panics_as_errors
from service.engine.loaded_model import LoadedModel
from service.errors import InternalError, InvalidInput, ZooError
from service.observability.log import logger
from service.types import InferRequest, Instance, Item, Prediction, Row, TensorInstance, Timing

log = logger(__name__)

Part = tuple[list[Prediction | ZooError], Timing]
"""The outcome of each of its instances, in order, and the times of the slowest instance."""


def split_into_parts(model: LoadedModel, request: InferRequest) -> list[range]:
    """Spans of instances to preprocess together: all tensors at once, raw instances in the task's chunks, never mixed."""
    instances = request.instances
    spans: list[range] = []
    start = 0
    while start < len(instances):
        light = is_light(instances[start])
        most = len(instances) if light else start + model.task.chunk
        end = start + 1
        while end < min(most, len(instances)) and is_light(instances[end]) == light:
            end += 1
        spans.append(range(start, end))
        start = end
    return spans


def is_light(instance: Instance | InvalidInput) -> bool:
    """Whether there is nothing to decode: tensors, or an instance that could not be read."""
    return isinstance(instance, TensorInstance | InvalidInput)


def mean_length(model: LoadedModel, instances: Sequence[Instance | InvalidInput]) -> float | None:
    """Mean length of rows that come as tensors; None where an instance has yet to be preprocessed, or is not well formed."""
    axis_of = model.card.batching.length_of
    if axis_of is None:
        return 1.0
    lengths = 0
    for instance in instances:
        if (
            not isinstance(instance, TensorInstance)
            or (array := instance.tensors.get(axis_of)) is None
            or not array.ndim
        ):
            return None
        lengths += array.shape[0]
    return lengths / len(instances)


def row_of(model: LoadedModel, instance: Instance | InvalidInput, path: str) -> Item | ZooError:
    """The item of an instance that came as tensors; `path` names it for error texts."""
    if isinstance(instance, InvalidInput):
        return instance
    assert isinstance(instance, TensorInstance)
    try:
        return model.task.row(instance, path)
    except InvalidInput as error:
        return error


def tensors_only(model: LoadedModel, item: Item | ZooError, outcome: Row | ZooError) -> Prediction | ZooError:
    """A row's output tensors, without an answer for people."""
    if isinstance(outcome, ZooError):
        return outcome
    assert isinstance(item, Item)
    return Prediction(model.task.shown(outcome.tensors, item), None, item.notes)


def postprocess(
    model: LoadedModel,
    request: InferRequest,
    items: Sequence[Item | ZooError],
    outcomes: Sequence[Row | ZooError],
    span: range,
) -> list[Prediction | ZooError]:
    """Called in the pool. An instance that came as tensors gets tensors back, without an answer for people."""
    predictions: list[Prediction | ZooError] = []
    for i, item, outcome in zip(span, items, outcomes, strict=True):
        if isinstance(outcome, ZooError):
            predictions.append(outcome)
            continue
        assert isinstance(item, Item)
        raw = not isinstance(request.instances[i], TensorInstance)
        try:
            with panics_as_errors():
                answer = model.task.postprocess(outcome.tensors, item, request.options) if raw else None
                shown = model.task.shown(outcome.tensors, item)
            predictions.append(Prediction(shown, answer, item.notes))
        except ZooError as error:
            predictions.append(error)
        except Exception:  # one bad row must not fail its neighbours
            predictions.append(postprocess_failed(model))
    return predictions


def postprocess_failed(model: LoadedModel) -> InternalError:
    """The outcome of a row whose outputs the task could not read. Call it where the exception is handled: it logs that."""
    reference = uuid.uuid4().hex[:12]
    log.exception("an answer could not be made", model=model.name, version=model.version, reference=reference)
    return InternalError(reference)


def timing_of(
    outcomes: Sequence[Row | ZooError], t0: float, t1: float, t2: float, t3: float, earlier_s: float = 0.0
) -> Timing:
    """The times of the slowest row. t0..t1 preprocess, t1..t2 queue and device, t2..t3 postprocess. `earlier_s`: device seconds
    of the passes before the last one."""
    reports = [outcome.batch for outcome in outcomes if isinstance(outcome, Row)]
    if not reports:
        return Timing(preprocess_s=t1 - t0, postprocess_s=t3 - t2, began=t0, postprocess_began=t2)
    last = max(reports, key=lambda report: report.finished)
    largest = max(report.rows for report in reports)
    queue_s = max(0.0, last.started - t1 - earlier_s)
    execute_s = earlier_s + last.finished - last.started
    stages, network = (t1 - t0, queue_s, execute_s, t3 - t2), (last.padding_ratio, last.device, last.precision)
    return Timing(*stages, largest, *network, began=t0, postprocess_began=t2, batch=last)


def slowest(timings: Sequence[Timing]) -> Timing:
    """Of several parts, the times that the caller waited for."""
    return max(timings, key=lambda t: t.preprocess_s + t.queue_s + t.execute_s + t.postprocess_s)
