"""Inputs of a caller → a PredictRequest. It reads files, and asks the server which input a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.client._async.models import AsyncModels
from service.client.concurrency import run_in_thread
from service.client.inputs.instances import (
    Input,
    array_instance,
    check_takes_text,
    encoded_instance,
    holds_arrays,
    is_ranking,
    is_text_pair,
    may_name_media,
    ranking_instance,
    read_file,
    record_instance,
    samples_instance,
    tensors_instance,
    text_instance,
    text_pair_instance,
    unknown_input,
    unknown_part,
)
from service.client.inputs.rows import is_record, row, series, with_row
from service.client.message_fields import build
from service.client.models import ModelInfo
from service.pb import prediction_pb2 as pb
from service.types import SamplesInstance


class AsyncInputEncoder:
    """Builds requests, and caches the models that it needs to know for that."""

    def __init__(self, models: AsyncModels) -> None:
        self._models = models
        self._known: dict[str, ModelInfo] = {}

    async def request(
        self, model: str, values: Sequence[Input], version: str, options: pb.PredictOptions, timeout: float | None
    ) -> pb.PredictRequest:
        """The request for `values`. Raises BadInput for a value that cannot be sent."""
        instances: list[pb.Instance] = []
        for value in values:
            instances += [await self._instance(value, model, timeout)]
        return build(pb.PredictRequest, model=model, version=version, instances=instances, options=options)

    async def _instance(self, value: Any, model: str, timeout: float | None) -> pb.Instance:
        match value:
            case str():
                known = await self._model(model, timeout) if may_name_media(value) else self._known.get(model)
                if known is not None:
                    check_takes_text(value, known)
                return text_instance(value)
            case SamplesInstance():
                return samples_instance(value)
            case Path():
                return encoded_instance(await run_in_thread(read_file, value), await self._model(model, timeout))
            case bytes() | bytearray() | memoryview():
                return encoded_instance(bytes(value), await self._model(model, timeout))
            case np.ndarray():
                return array_instance(value, await self._model(model, timeout))
            case list() | tuple():
                return series(value)
            case Mapping():
                return await self._mapping(value, model, timeout)
            case _:
                raise unknown_input(value)

    async def _mapping(self, value: Mapping[Any, Any], model: str, timeout: float | None) -> pb.Instance:
        """A row, a record, two texts or tensors by name. Requests the model only if the values are ambiguous."""
        if is_record(value) and value.keys() <= {"image", "row"}:
            return await self._record(value)
        if is_ranking(value):
            return ranking_instance(value)
        if holds_arrays(value):
            return tensors_instance(value)
        takes_rows = (await self._model(model, timeout)).raw_input == "row"
        if takes_rows:  # a path or bytes may be a cell, too
            return row(value)
        if is_text_pair(value):
            return text_pair_instance(value)
        return await self._record(with_row(value)) if is_record(value) else tensors_instance(value)

    async def _record(self, value: Mapping[Any, Any]) -> pb.Instance:
        parts: dict[str, pb.Instance] = {}
        for name, part in value.items():
            parts[str(name)] = await self._part(str(name), part)
        return record_instance(parts)

    async def _part(self, name: str, value: Any) -> pb.Instance:
        match value:
            case Mapping():
                return row(value)
            case Path():
                return pb.Instance(image=await run_in_thread(read_file, value))
            case bytes() | bytearray() | memoryview():
                return pb.Instance(image=bytes(value))
            case _:
                raise unknown_part(name, value)

    async def _model(self, name: str, timeout: float | None) -> ModelInfo:
        if name not in self._known:
            self._known[name] = await self._models.get(name, timeout)
        return self._known[name]
