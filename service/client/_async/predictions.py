"""Predictions: one call about several inputs, or a stream of inputs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

from service.client._async.connection import AsyncConnection
from service.client._async.input_encoder import AsyncInputEncoder
from service.client._async.prediction_stream import AsyncPredictionStream
from service.client.channel import model_metadata
from service.client.inputs.instances import Input, as_list
from service.client.inputs.options import PredictOptions
from service.client.results import Outcome, raise_if_all_failed, read_response


class AsyncPredictions:
    """Sends inputs to a model and reads the results."""

    def __init__(self, connection: AsyncConnection, encoder: AsyncInputEncoder) -> None:
        self._connection = connection
        self._encoder = encoder

    async def predict(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        version: str,
        options: PredictOptions,
        timeout: float | None,
    ) -> list[Outcome]:
        """One result for each input, in their order. Raises the first error if all inputs fail."""
        values = as_list(inputs)
        request = await self._encoder.request(model, values, version, options.message(), timeout)
        metadata = model_metadata(model, version)
        response = await self._connection.call(self._connection.prediction.Predict, request, timeout, metadata)
        outcomes = read_response(response, len(values))
        raise_if_all_failed(outcomes)
        return outcomes

    def stream(
        self,
        model: str,
        inputs: Iterable[Input] | AsyncIterable[Input],
        version: str,
        options: PredictOptions,
        timeout: float | None,
        in_flight: int,
    ) -> AsyncIterator[Outcome]:
        """One result for each input, in their order, while further inputs are sent."""
        stream = AsyncPredictionStream(self._connection, self._encoder, model, version, options, in_flight)
        return stream.outcomes(inputs, timeout)
