"""Answers requests of ModelInfer and ModelStreamInfer, whichever frontend they come by.

A request of tensors for a loaded model takes the tensor path (`Inference.submit_tensors`); `answer` is for the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from service.access.principal import Principal, current_principal
from service.engine.loaded_model import LoadedModel
from service.errors import InvalidInput, ZooError
from service.inference import Inference, current_call
from service.observability.recorder import Call, CallContext, Recorder
from service.pb import open_inference_pb2 as pb
from service.wire.access.guard import Guard
from service.wire.calls import CountedCall, principal_of
from service.wire.frontend.answering import CountedStream, answer, check_hint, parsed
from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.frontend import Frontend
from service.wire.frontend.streams import StreamCall, StreamHandler
from service.wire.open_inference.model_codec import ModelCodec, TensorCall, tensor_call
from service.wire.open_inference.option_parameters import check_options
from service.wire.open_inference.raw_contents import Received, read
from service.wire.open_inference.regions import Regions
from service.wire.open_inference.replies import infer_response, stream_error, stream_reply
from service.wire.open_inference.requests import checked_parameters, infer_request, wanted_outputs
from service.wire.open_inference.shared_tensors import is_cheap
from service.wire.open_inference.submitted_tensors import Replies, StreamReply, SubmittedTensors, UnaryReply
from service.wire.stopping import Stopping

T = TypeVar("T")

STREAM_LIMIT = 64
"""Requests of one stream that may be unanswered at once; beyond it the stream is not read."""

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
UNARY, STREAMED = "ModelInfer", "ModelStreamInfer"
"""Each request of a stream is counted as a call of its method."""


class InferCalls:
    """Belongs to the event loop."""

    def __init__(
        self,
        inference: Inference,
        recorder: Recorder,
        regions: Regions | None = None,
        guard: Guard | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        """`regions`: of shared memory; None where the extension is off. `stopping`: ends the streams."""
        self._inference = inference
        self._recorder = recorder
        self._guard = guard or Guard()
        self.stopping = stopping or Stopping()
        self._regions = regions
        self._codecs: WeakKeyDictionary[LoadedModel, ModelCodec] = WeakKeyDictionary()

    def add_to_frontend(self, frontend: Frontend) -> None:
        """Serves both methods there."""
        frontend.add_unary(f"/{SERVICE}/{UNARY}", self._begin_unary)
        frontend.add_stream(f"/{SERVICE}/{STREAMED}", self._open_stream, STREAM_LIMIT, self.stopping)

    # ── by a coroutine ────────────────────────────────────────────────────────────────────────────────────────

    async def infer(self, incoming: Received, deadline: float | None) -> pb.ModelInferResponse:
        """The reply to one request. Raises a ZooError."""
        about, principal = current_call.get(), current_principal.get()
        about.request_id = incoming.message.id
        tensors = self._read_tensors(incoming, deadline, principal)
        if tensors is None:
            return await self.answer(incoming, deadline, principal)
        principal.take_rows(len(tensors.items))
        about.model, about.version, about.request_id = _about(tensors)
        about.rows = len(tensors.items)
        model, items = tensors.model, tensors.items
        return tensors.response(await self._inference.infer_tensors(model, items, tensors.deadline, tensors.priority))

    async def answer(self, incoming: Received, deadline: float | None, principal: Principal) -> pb.ModelInferResponse:
        """Waits for a model that is loading, says what is wrong with a request, and takes raw input. Raises a ZooError."""
        request, arrived = incoming.message, time.monotonic()
        # A `timeout` runs while the model loads, too. `infer_request` reports a wrong parameter when the model is known.
        with suppress(InvalidInput):
            deadline, _ = checked_parameters(request.parameters, deadline)
        # An error of the model is reported before a bad tensor, which only the model's card can tell.
        model = await self._inference.resolve(request.model_name, request.model_version, deadline, request.id)
        regions = self._regions
        wanted = wanted_outputs(request, model.card, regions)
        # Copies of much shared memory take milliseconds, which the event loop does not have.
        copy = _run_here if regions is None or is_cheap(request) else asyncio.to_thread
        parsed_request = await copy(infer_request, request, model.card, deadline, incoming.raws, regions)
        principal.take_rows(len(parsed_request.instances))
        tensors = tensor_call(model, parsed_request, wanted)
        if tensors is not None:
            rows = await self._inference.infer_tensors(
                model, tensors.items, tensors.deadline, tensors.priority, arrived
            )
            return await copy(tensors.response, rows)
        check_options(model.task, parsed_request.options)
        reply = await self._inference.infer(parsed_request, answers=False, model=model, arrived=arrived)
        return await copy(infer_response, request, wanted, model.task.labels, reply)

    # ── by callbacks ──────────────────────────────────────────────────────────────────────────────────────────

    def begin_streamed(self, incoming: Received, stream: Replies, deadline: float | None, context: CallContext) -> None:
        """Begins to answer one request of a stream; see `Stream` for the contract."""
        counted = CountedCall(self._recorder, STREAMED, context)
        counted.call.request_id = incoming.message.id
        principal = principal_of(context)
        try:
            self._guard.check_alive(principal)
            counted.belongs_to(principal)
            tensors = self._read_tensors(incoming, deadline, principal)
            if tensors is None:
                stream.start(self._stream_answer(incoming, deadline, counted, principal))
                return
            counted.call = Call(*_about(tensors), rows=len(tensors.items))
            counted.hold(principal)
            principal.take_rows(len(tensors.items))
        except ZooError as error:
            stream.reply(stream_error(incoming.message, counted.failed(error)))
            return
        SubmittedTensors(tensors, counted, StreamReply(stream, incoming.message, tensors)).submit(self._inference)

    def _begin_unary(self, call: UnaryCall) -> None:
        counted, principal = CountedCall(self._recorder, UNARY, call), call.principal
        counted.belongs_to(principal)
        incoming: Received | None = None
        try:
            incoming = parsed(call, counted, read)
            if incoming is None:
                return
            message = incoming.message
            if call.hint is not None:
                check_hint(call, message.model_name, message.model_version)
            tensors = self._read_tensors(incoming, call.deadline, principal)
            if tensors is None:
                answer(call, counted, self.answer(incoming, call.deadline, principal))
                return
            principal.take_rows(len(tensors.items))
        except Exception as error:
            if incoming is not None:
                counted.call.request_id = incoming.message.id
            call.fail(counted.failed(error), counted.request_id)
            return
        counted.call = Call(*_about(tensors), principal.name, len(tensors.items))
        SubmittedTensors(tensors, counted, UnaryReply(call, tensors)).submit(self._inference)

    def _open_stream(self, stream: StreamCall) -> StreamHandler:
        def begin(incoming: Received, stream: StreamCall) -> None:
            self.begin_streamed(incoming, stream, stream.deadline, stream)

        return CountedStream(stream, self._recorder, STREAMED, read, begin)

    async def _stream_answer(
        self, incoming: Received, deadline: float | None, counted: CountedCall, principal: Principal
    ) -> pb.ModelStreamInferResponse:
        try:
            with counted:
                counted.hold(principal)
                return stream_reply(await self.answer(incoming, deadline, principal))
        except ZooError as error:
            return stream_error(incoming.message, error)

    # ── both ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_tensors(self, incoming: Received, deadline: float | None, principal: Principal) -> TensorCall | None:
        """A request of raw tensors for a model that is loaded. None for every other request: `answer` takes those. Raises
        PermissionDenied where the principal may not use the model."""
        request = incoming.message
        principal.require_model(request.model_name)
        model = self._inference.find_ready(request.model_name, request.model_version)
        if model is None:
            return None
        codec = self._codecs.get(model)
        if codec is None:
            codec = self._codecs[model] = ModelCodec(model, self._regions)
        return codec.read(request, model, incoming.raws, deadline)


async def _run_here(work: Callable[..., T], *arguments: Any) -> T:
    """As `asyncio.to_thread`, without a thread."""
    return work(*arguments)


def _about(tensors: TensorCall) -> tuple[str, str, str]:
    """Model, version and request id, for `Call`."""
    return tensors.model.name, str(tensors.model.version), tensors.request_id
