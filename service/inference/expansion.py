"""Instances that make several rows: a query with its documents, a text with its candidate labels; or one row of another kind: an
image with its candidate labels.

Such an instance becomes several before its request is admitted (`Task.expand`), so that each row is counted, bounded and batched
like any other. When all rows have their outputs, they are joined to one answer (`Task.join`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model_zoo.errors import panics_as_errors
from service.engine.loaded_model import LoadedModel
from service.errors import InvalidInput, ZooError
from service.inference.results import postprocess_failed
from service.types import InferRequest, Instance, Options, Prediction

MOST_ROWS = 4096
"""Of one request, as many as it may have instances."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """A request with an instance for each row."""

    request: InferRequest
    rows: tuple[int | None, ...]
    """Of each instance as it came: its rows, or None where it is one row as it is."""


def expanded(model: LoadedModel, request: InferRequest) -> Expansion:
    """The request with an instance for each row. An instance that has no rows is its error, in its place. Raises InvalidInput for
    too many rows."""
    task = model.task
    instances: list[Instance | InvalidInput] = []
    paths: list[str] = []
    counts: list[int | None] = []
    for i, instance in enumerate(request.instances):
        path = request.path(i)
        found: Sequence[Instance] | Instance | InvalidInput | None
        try:
            found = None if isinstance(instance, InvalidInput) else task.expand(instance, request.options, path)
        except InvalidInput as error:
            found = error
        rows = found if isinstance(found, Sequence) else [instance if found is None else found]
        counts.append(len(found) if isinstance(found, Sequence) else None)
        if len(instances) + len(rows) > MOST_ROWS:
            raise InvalidInput("instances", f"expected at most {MOST_ROWS:,} rows in one request, got more")
        instances += rows
        paths += [path] * len(rows)
    return Expansion(replace(request, instances=instances, paths=paths), tuple(counts))


def joined(
    model: LoadedModel, expansion: Expansion, outcomes: Sequence[Prediction | ZooError], answers: bool
) -> list[Prediction | ZooError]:
    """The outcomes of the rows → one for each instance as it came. The first error of a row is that of its instance."""
    rest = iter(outcomes)
    found: list[Prediction | ZooError] = []
    for count in expansion.rows:
        if count is None:
            found.append(next(rest))
        else:
            found.append(_join(model, [next(rest) for _ in range(count)], expansion.request.options, answers))
    return found


def _join(
    model: LoadedModel, rows: Sequence[Prediction | ZooError], options: Options, answers: bool
) -> Prediction | ZooError:
    predictions: list[Prediction] = []
    for row in rows:
        if isinstance(row, ZooError):
            return row
        predictions.append(row)
    tensors = {name: np.stack([one.tensors[name] for one in predictions]) for name in predictions[0].tensors}
    notes = {"truncated": True} if any(one.notes.get("truncated") for one in predictions) else {}
    try:
        with panics_as_errors():
            return Prediction(tensors, model.task.join(tensors, options) if answers else None, notes)
    except Exception:  # one bad instance must not fail its neighbours
        return postprocess_failed(model)
