"""Answers with attributions: the request is answered first; then variants of each instance, each without one part, go through the
pipeline as rows of the last priority. See `service/tasks/occlusion.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from model_zoo.errors import panics_as_errors
from service.engine.loaded_model import LoadedModel
from service.errors import InvalidInput, ZooError
from service.tasks.occlusion import Occlusions
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


async def attributed(infer: Infer, pool: ThreadPoolExecutor, model: LoadedModel, request: InferRequest) -> InferReply:
    """The reply, with an attribution of each classification's best label. A variant that fails fails its instance."""
    plain = replace(request, options=replace(request.options, attribute=None))
    reply = await infer(plain, True)
    predictions = list(reply.predictions)
    for i, (instance, prediction) in enumerate(zip(request.instances, predictions, strict=True)):
        if isinstance(prediction, ZooError) or isinstance(instance, InvalidInput):
            continue
        answer = prediction.answer
        if isinstance(answer, Classification) and not answer.labels:
            continue  # all are below the threshold
        try:
            label = answer.labels[0] if isinstance(answer, Classification) else None
            with panics_as_errors():
                attribution = await _attribution(
                    infer, pool, model, plain, instance, request.path(i), label, prediction
                )
        except InvalidInput as error:
            predictions[i] = error
        else:
            predictions[i] = replace(prediction, attribution=attribution)
    return replace(reply, predictions=predictions)


async def _attribution(
    infer: Infer,
    pool: ThreadPoolExecutor,
    model: LoadedModel,
    request: InferRequest,
    instance: Instance,
    path: str,
    label: Label | None,
    prediction: Prediction,
) -> Attribution:
    parts = model.task.attributable
    assert parts is not None, "the task has checked its options"
    loop = asyncio.get_running_loop()
    occlusions = await loop.run_in_executor(pool, parts.inputs.occlusions, instance, path)
    assert label is not None, "the instance is raw, or it had no occlusions"
    whole = parts.answers.probability(prediction.tensors, label.index)
    lost: list[float] = []
    for start in range(0, occlusions.count, VARIANTS_AT_ONCE):
        some = range(start, min(start + VARIANTS_AT_ONCE, occlusions.count))
        variants = await loop.run_in_executor(pool, _variants, occlusions, some)
        several = replace(
            request, instances=variants, paths=[path] * len(some), options=Options(), priority=LAST_PRIORITY
        )
        for variant in (await infer(several, False)).predictions:
            if isinstance(variant, ZooError):
                raise variant
            lost.append(whole - parts.answers.probability(variant.tensors, label.index))
    weights = occlusions.weights(np.array(lost))
    return Attribution(label, heat_map=weights) if isinstance(weights, HeatMap) else Attribution(label, words=weights)


def _variants(occlusions: Occlusions, some: range) -> list[Instance]:
    return [occlusions.variant(i) for i in some]
