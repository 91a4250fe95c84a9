"""Answers with attributions: the request is answered first; then variants of each instance, each without one part, go through the
pipeline as rows of the last priority. See `service/tasks/occlusion.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from model_zoo.errors import panics_as_errors
from service.engine.loaded_model import LoadedModel
from service.errors import InvalidInput, ZooError
from service.inference.results import postprocess_failed
from service.tasks.occlusion import Attributable, Occlusions
from service.types import (
    LAST_PRIORITY,
    Attribution,
    Classification,
    HeatMap,
    InferReply,
    InferRequest,
    Instance,
    Label,
    Options,
    Prediction,
)

T = TypeVar("T")

MOST_INSTANCES = 8
"""Of a request with attributions."""
VARIANTS_AT_ONCE = 25
"""Bounds the memory of a request: variants of an image are as large as what the network sees."""

Infer = Callable[[InferRequest, bool], Awaitable[InferReply]]
"""Answers a request of a known model, with answers for people or with tensors alone."""


def check_attribution(request: InferRequest) -> None:
    """Raises InvalidInput for too many instances."""
    if len(request.instances) > MOST_INSTANCES:
        got = len(request.instances)
        raise InvalidInput("instances", f"expected at most {MOST_INSTANCES} in a request with attributions, got {got}")


@dataclass(frozen=True, slots=True)
class Attributions:
    """Makes the attributions of one request. Belongs to the event loop; `pool` makes the variants and weighs their answers."""

    infer: Infer
    pool: ThreadPoolExecutor
    model: LoadedModel
    parts: Attributable

    async def reply(self, request: InferRequest) -> InferReply:
        """The reply, with an attribution of each classification's best label. An instance whose variant fails, or which has no
        parts, is its error in its place. Raises what `infer` raises, such as QueueFull and DeadlineExceeded."""
        plain = replace(request, options=replace(request.options, attribute=None))
        reply = await self.infer(plain, True)
        pairs = zip(request.instances, reply.predictions, strict=True)
        predictions = [await self._attributed(plain, i, *pair) for i, pair in enumerate(pairs)]
        return replace(reply, predictions=predictions)

    async def _attributed(
        self, request: InferRequest, index: int, instance: Instance | InvalidInput, prediction: Prediction | ZooError
    ) -> Prediction | ZooError:
        if isinstance(prediction, ZooError) or isinstance(instance, InvalidInput):
            return prediction
        answer, path = prediction.answer, request.path(index)
        if not isinstance(answer, Classification):
            return InvalidInput(
                "options.attribute", "attributions of tensors do not exist; send what they were made of"
            )
        if not answer.labels:  # all are below the threshold
            return prediction
        best = answer.labels[0]
        occlusions = await self._in_pool(lambda: self.parts.inputs.occlusions(instance, path))
        if isinstance(occlusions, ZooError):
            return occlusions
        without: list[float] = []
        for start in range(0, occlusions.count, VARIANTS_AT_ONCE):
            rows = await self._without(
                request, path, occlusions, range(start, occlusions.count)[:VARIANTS_AT_ONCE], best
            )
            if isinstance(rows, ZooError):
                return rows
            without += rows
        found = await self._in_pool(lambda: self._attribution(best, prediction, occlusions, without))
        return found if isinstance(found, ZooError) else replace(prediction, attribution=found)

    async def _without(
        self, request: InferRequest, path: str, occlusions: Occlusions, some: range, label: Label
    ) -> list[float] | ZooError:
        """The label's probabilities in some variants."""
        variants = await self._in_pool(lambda: [occlusions.variant(i) for i in some])
        if isinstance(variants, ZooError):
            return variants
        several = replace(
            request, instances=variants, paths=[path] * len(some), options=Options(), priority=LAST_PRIORITY
        )
        rows: list[Prediction] = []
        for outcome in (await self.infer(several, False)).predictions:
            if isinstance(outcome, ZooError):
                return outcome
            rows.append(outcome)
        return await self._in_pool(lambda: [self.parts.answers.probability(row.tensors, label.index) for row in rows])

    def _attribution(
        self, label: Label, prediction: Prediction, occlusions: Occlusions, without: list[float]
    ) -> Attribution:
        weights = occlusions.weights(
            self.parts.answers.probability(prediction.tensors, label.index) - np.array(without)
        )
        return (
            Attribution(label, heat_map=weights) if isinstance(weights, HeatMap) else Attribution(label, words=weights)
        )

    async def _in_pool(self, work: Callable[[], T]) -> T | ZooError:
        """What `work` gives; a fault of it is the outcome of its instance, and not of its neighbours."""
        try:
            with panics_as_errors():
                return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except ZooError as error:
            return error
        except Exception:
            return postprocess_failed(self.model)
