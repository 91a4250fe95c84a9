"""The blocking client. Safe to share between threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from service.client.channel import DEFAULT_TARGET, Retry, call_metadata, channel_options
from service.client.errors import BadInput, call_error
from service.client.inputs import Input
from service.client.models import ModelInfo, Option, ServerStatus, UnloadedModel, UpdatedModel
from service.client.plan import Effect, FileWork, Pause, Plan, Stubs, T, Upload, Watch
from service.client.results import Outcome
from service.client.stream import IN_FLIGHT, StreamBook
from service.client.sync_tuning import TuningClient
from service.client.verbs import CALL_TIMEOUT_S, HEALTH_TIMEOUT_S, LOAD_TIMEOUT_S, Verbs, predict_options
from service.pb import prediction_pb2 as pb


class Client(TuningClient):
    """Calls one server. Timeouts are seconds over all attempts, `None` waits for ever. Raises ZooClientError."""

    def __init__(self, target: str = DEFAULT_TARGET, *, retry: Retry | None = None, owner: str = "") -> None:
        self.target = target
        self._retry = retry or Retry()
        self._metadata = call_metadata(owner)
        self._verbs = Verbs()
        self._channel = grpc.insecure_channel(target, channel_options(target, self._retry))
        self._stubs = Stubs(self._channel)

    def predict(
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
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> list[Outcome]:
        """One result for each input, in their order.

        An input that fails alone has a PredictionError in its place; where all fail, the first is raised. `priority`: 1 goes
        first where requests wait, 9 last, 0 as usual. For a model that writes: at most `max_new_tokens`, daring more with a
        larger `temperature`, and always the same with the same `seed`.
        """
        options = predict_options(top_k, threshold, include_tensors, priority, max_new_tokens, temperature, seed)
        return self._run(self._verbs.predict(model, inputs, version, options, timeout))

    def stream_predict(
        self,
        model: str,
        inputs: Iterable[Input],
        *,
        version: str = "",
        top_k: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        include_tensors: bool = False,
        priority: int = 0,
        timeout: float | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> Iterator[Outcome]:
        """One result for each input, in their order, while further inputs are still being sent.

        At most `in_flight` inputs wait for an answer at a time. `inputs` is drawn from in another thread; an exception
        that it raises is raised here, after the results of what was sent before.
        """
        options = predict_options(top_k, threshold, include_tensors, priority, max_new_tokens, temperature, seed)
        book, slots, over = StreamBook(), threading.Semaphore(in_flight), threading.Event()
        trouble: list[Exception] = []

        def requests() -> Iterator[pb.StreamPredictRequest]:  # runs in gRPC's thread, which must see no exception
            try:
                for value in inputs:
                    slots.acquire()
                    if over.is_set():
                        return
                    try:
                        request = self._run(self._verbs.request(model, [value], version, options, CALL_TIMEOUT_S))
                    except BadInput as error:
                        book.failed(error)
                        slots.release()
                        continue
                    yield book.sent(request)
            except Exception as error:
                trouble.append(error)

        call = self._stubs.prediction.StreamPredict(requests(), timeout=timeout)
        try:
            for reply in call:
                book.settle(reply)
                slots.release()
                yield from book.take()
        except grpc.RpcError as error:
            raise call_error(error, self.target) from None
        finally:
            over.set()
            slots.release()
            call.cancel()
        yield from book.rest()
        if trouble:
            raise trouble[0]

    def models(
        self, *, family: str = "", task: str = "", state: str = "", timeout: float | None = CALL_TIMEOUT_S
    ) -> Iterator[ModelInfo]:
        """The server's catalog in order of name, page by page. `timeout` is for each page."""
        token = ""
        while True:
            page, token = self._run(self._verbs.page(token, family, task, state, timeout))
            yield from page
            if not token:
                return

    def model(self, name: str, *, timeout: float | None = CALL_TIMEOUT_S) -> ModelInfo:
        """One model, with its labels."""
        return self._run(self._verbs.model(name, timeout))

    def load(self, name: str, *, timeout: float | None = LOAD_TIMEOUT_S) -> ModelInfo:
        """Makes a model ready, fetching its weights on first use; returns when it is READY."""
        return self._run(self._verbs.load(name, timeout))

    def unload(self, name: str, *, timeout: float | None = CALL_TIMEOUT_S) -> UnloadedModel:
        """Takes a model out of service, after the requests that it still has, and says what memory came back."""
        return self._run(self._verbs.unload(name, timeout))

    def set_options(
        self, name: str, options: Mapping[str, Option | None], *, timeout: float | None = CALL_TIMEOUT_S
    ) -> UpdatedModel:
        """Changes options of a model while it serves: `{"max_batch_size": 8, "weight": 2}`. None takes one back to its
        default."""
        return self._run(self._verbs.set_options(name, options, timeout))

    def ready(self, *, timeout: float | None = HEALTH_TIMEOUT_S) -> bool:
        """Whether the server may serve. Not retried: ServerUnreachable comes at once."""
        return self._run(self._verbs.ready(timeout))

    def status(self, *, timeout: float | None = HEALTH_TIMEOUT_S) -> ServerStatus:
        """Live, ready and the models with their states. A server that is not there is an answer, not an error."""
        return self._run(self._verbs.status(timeout))

    def close(self) -> None:
        """Ends all calls and the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, plan: Plan[T]) -> T:
        try:
            effect = next(plan)
            while True:
                try:
                    reply = self._perform(effect)
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

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case FileWork():
                return effect.perform()
            case Pause():
                return time.sleep(effect.seconds)
            case Upload():
                return self._upload(effect)
            case Watch():
                for event in self.watch_job(effect.job_id):
                    effect.on_event(event)
                return None
        try:
            call = effect.method(self._stubs)
            return call(effect.request, timeout=effect.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise call_error(error, self.target) from None
