"""The asyncio client. Belongs to the event loop in which it was made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from service.client.aio_tuning import AsyncTuningClient
from service.client.channel import DEFAULT_TARGET, Retry, call_metadata, channel_options
from service.client.errors import BadInput, call_error
from service.client.inputs import Input
from service.client.models import ModelInfo, Option, ServerStatus, UnloadedModel, UpdatedModel
from service.client.plan import Effect, FileWork, Pause, Plan, Stubs, T, Upload, Watch
from service.client.results import Outcome
from service.client.stream import IN_FLIGHT, StreamBook
from service.client.verbs import CALL_TIMEOUT_S, HEALTH_TIMEOUT_S, LOAD_TIMEOUT_S, Verbs, predict_options
from service.pb import prediction_pb2 as pb

V = TypeVar("V")


class AsyncClient(AsyncTuningClient):
    """The verbs of `Client`, awaited; what they take, give and raise is told there."""

    def __init__(self, target: str = DEFAULT_TARGET, *, retry: Retry | None = None, owner: str = "") -> None:
        self.target = target
        self._retry = retry or Retry()
        self._metadata = call_metadata(owner)
        self._verbs = Verbs()
        self._channel = grpc.aio.insecure_channel(target, channel_options(target, self._retry))
        self._stubs = Stubs(self._channel)

    async def predict(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        *,
        version: str = "",
        top_k: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        include_tensors: bool = False,
        priority: int = 0,
        timeout: float | None = CALL_TIMEOUT_S,  # noqa: ASYNC109 (travels to the server as the deadline)
    ) -> list[Outcome]:
        """One result for each input, in their order."""
        options = predict_options(top_k, threshold, include_tensors, priority, max_new_tokens, temperature, seed)
        return await self._run(self._verbs.predict(model, inputs, version, options, timeout))

    async def stream_predict(
        self,
        model: str,
        inputs: Iterable[Input] | AsyncIterable[Input],
        *,
        version: str = "",
        top_k: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        include_tensors: bool = False,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109
        in_flight: int = IN_FLIGHT,
    ) -> AsyncIterator[Outcome]:
        """One result for each input, in their order, while further inputs are still being sent."""
        options = predict_options(top_k, threshold, include_tensors, priority, max_new_tokens, temperature, seed)
        book, slots = StreamBook(), asyncio.Semaphore(in_flight)
        trouble: list[Exception] = []

        async def requests() -> AsyncIterator[pb.StreamPredictRequest]:  # gRPC draws from it and must see no exception
            try:
                async for value in _each(inputs):
                    await slots.acquire()
                    try:
                        request = await self._run(self._verbs.request(model, [value], version, options, CALL_TIMEOUT_S))
                    except BadInput as error:
                        book.failed(error)
                        slots.release()
                        continue
                    yield book.sent(request)
            except Exception as error:
                trouble.append(error)

        call: Any = self._stubs.prediction.StreamPredict(requests(), timeout=timeout)
        try:
            async for reply in call:
                book.settle(reply)
                slots.release()
                for outcome in book.take():
                    yield outcome
        except grpc.RpcError as error:
            raise call_error(error, self.target) from None
        finally:
            call.cancel()
        for outcome in book.rest():
            yield outcome
        if trouble:
            raise trouble[0]

    async def models(
        self,
        *,
        family: str = "",
        task: str = "",
        state: str = "",
        timeout: float | None = CALL_TIMEOUT_S,  # noqa: ASYNC109
    ) -> AsyncIterator[ModelInfo]:
        """The server's catalog in order of name, page by page."""
        token = ""
        while True:
            page, token = await self._run(self._verbs.page(token, family, task, state, timeout))
            for model in page:
                yield model
            if not token:
                return

    async def model(self, name: str, *, timeout: float | None = CALL_TIMEOUT_S) -> ModelInfo:  # noqa: ASYNC109
        """One model, with its labels."""
        return await self._run(self._verbs.model(name, timeout))

    async def load(self, name: str, *, timeout: float | None = LOAD_TIMEOUT_S) -> ModelInfo:  # noqa: ASYNC109
        """Makes a model ready; returns when it is READY."""
        return await self._run(self._verbs.load(name, timeout))

    async def unload(self, name: str, *, timeout: float | None = CALL_TIMEOUT_S) -> UnloadedModel:  # noqa: ASYNC109
        """Takes a model out of service."""
        return await self._run(self._verbs.unload(name, timeout))

    async def set_options(
        self,
        name: str,
        options: Mapping[str, Option | None],
        *,
        timeout: float | None = CALL_TIMEOUT_S,  # noqa: ASYNC109
    ) -> UpdatedModel:
        """Changes options of a model while it serves."""
        return await self._run(self._verbs.set_options(name, options, timeout))

    async def ready(self, *, timeout: float | None = HEALTH_TIMEOUT_S) -> bool:  # noqa: ASYNC109
        """Whether the server may serve."""
        return await self._run(self._verbs.ready(timeout))

    async def status(self, *, timeout: float | None = HEALTH_TIMEOUT_S) -> ServerStatus:  # noqa: ASYNC109
        """Live, ready and the models with their states."""
        return await self._run(self._verbs.status(timeout))

    async def close(self) -> None:
        """Ends all calls and the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, plan: Plan[T]) -> T:
        try:
            effect = next(plan)
            while True:
                try:
                    reply = await self._perform(effect)
                except Exception as error:
                    effect = plan.throw(error)
                else:
                    effect = plan.send(reply)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        except UnicodeEncodeError as error:  # a message takes what is valid Unicode
            raise BadInput(f"{error.object[:64]!r} holds lone surrogates, so it is not valid Unicode") from None
        finally:
            plan.close()  # after Ctrl-C, too, what it had opened is closed at once

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case FileWork():
                return await asyncio.to_thread(effect.perform)
            case Pause():
                return await asyncio.sleep(effect.seconds)
            case Upload():
                return await self._upload(effect)
            case Watch():
                async for event in self.watch_job(effect.job_id):
                    effect.on_event(event)
                return None
        try:
            call = effect.method(self._stubs)
            return await call(effect.request, timeout=effect.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise call_error(error, self.target) from None


async def _each(values: Iterable[V] | AsyncIterable[V]) -> AsyncIterator[V]:
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
