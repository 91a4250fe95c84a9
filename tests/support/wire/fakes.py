"""A fake pipeline and registry that answer from memory, behind the real servicer and call wrapper on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from grpc import aio
from prometheus_client import CollectorRegistry

from model_zoo.cards.card import Card
from model_zoo.cards.signature import Signature, TensorSpec
from service.errors import InvalidInput, NotFound, NotReady, ZooError
from service.inference import current_call
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.pb import open_inference_pb2_grpc as pb_grpc
from service.registry.model_status import ModelStatus, RuntimeInfo, Unloaded, VersionStatus
from service.registry.states import ModelState
from service.scheduler.policy import BatchLimits
from service.types import InferReply, InferRequest, Instance, Options, Prediction, TensorInstance, Timing
from service.wire.calls import CountedServer
from service.wire.open_inference.servicer import OpenInferenceServicer, add_to_server
from tests.support.wire.frontends import served_port


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec.model_validate({"name": name, "datatype": datatype, "shape": shape})


def card(name: str, raw_input: str, canonical: str, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Card:
    """A card with the fields that `wire/` reads."""
    return Card.model_construct(
        name=name,
        family="cnn",
        task="image-classification",
        raw_input=raw_input,  # type: ignore[arg-type]
        canonical=canonical,  # type: ignore[arg-type]
        signature=Signature(inputs=tuple(inputs), outputs=tuple(outputs)),
        recipe=None,  # type: ignore[arg-type]
    )


PICTURES = card(
    "pictures",
    "image",
    "tensors",
    [spec("pixels", "FP32", -1, 3, 2)],
    [spec("logits", "FP32", -1, 3), spec("count", "INT64", -1)],
)
SENTENCES = card(
    "sentences",
    "text",
    "raw",
    [spec("ids", "INT64", -1, -1), spec("mask", "INT64", -1, -1)],
    [spec("embedding", "FP32", -1, 4)],
)
SOUNDS = card(
    "sounds",
    "audio",
    "tensors",
    [spec("samples", "FP32", -1, -1)],
    [spec("probabilities", "FP32", -1, -1), spec("frames", "INT64", -1, 1)],
)


def status(of: Card, state: ModelState = ModelState.READY, labels: tuple[str, ...] = (), **changes: Any) -> ModelStatus:
    ready = state is ModelState.READY
    whole = ModelStatus(
        name=of.name,
        card=of,
        state=state,
        reason="" if ready else "not loaded",
        versions=(1,) if ready else (),
        aliases={"stable": 1} if ready else {},
        labels=labels,
        runtime=RuntimeInfo("cpu", "fp32", 4096, 0.5) if ready else None,
        limits=BatchLimits(max_batch_size=8, max_queue_size=64, max_queue_delay_s=0.002),
        ever_loaded=ready,
    )
    return replace(whole, **changes)


@dataclass(frozen=True)
class FakeTask:
    labels: tuple[str, ...]

    def check(self, options: Options) -> None:
        """Takes every option."""


@dataclass(frozen=True)
class FakeModel:
    card: Card
    name: str
    version: int
    task: FakeTask


class FakeRegistry:
    """Three models: one classifies, one takes text, one is not loaded."""

    def __init__(self) -> None:
        self.models = {
            "pictures": status(PICTURES, labels=("cat", "dog", "rocket")),
            "sentences": status(SENTENCES),
            "sounds": status(SOUNDS, ModelState.UNAVAILABLE),
        }

    async def seek(self, name: str, version: str = "") -> None:
        """No other server shares this registry."""

    def resolve(self, name: str, version: str = "") -> FakeModel:
        known = self.status(name, version)
        if known.state is not ModelState.READY:
            raise NotReady(f"model {name!r} is unavailable: {known.reason}")
        return FakeModel(known.card, name, 1, FakeTask(known.labels))

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> FakeModel:
        return self.resolve(name, version)

    def status(self, name: str, version: str = "") -> ModelStatus:
        if name not in self.models:
            raise NotFound("model", name, ["pictures"])
        if version not in ("", "stable", "1"):
            raise NotFound("version", version)
        return self.models[name]

    def statuses(self) -> list[ModelStatus]:
        return list(self.models.values())

    def versions(self, name: str) -> list[VersionStatus]:
        known = self.models[name]
        return [VersionStatus(number=1, state=known.state, reason=known.reason)]

    async def survey(self, name: str) -> list[VersionStatus]:
        return self.versions(name)

    def damaged_models(self) -> dict[str, str]:
        return {}

    async def load(self, name: str) -> ModelStatus:
        self.models[name] = status(self.status(name).card)
        return self.models[name]

    async def unload(self, name: str) -> Unloaded:
        self.models[name] = status(self.status(name).card, ModelState.UNAVAILABLE, reason="unloaded")
        return Unloaded(self.models[name])


@dataclass
class FakeInference:
    """Answers each instance with `answer`. A request waits for its gate, where it has one."""

    answer: Callable[[Instance], Prediction | ZooError]
    registry: FakeRegistry
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """By request id."""
    requests: list[InferRequest] = field(default_factory=list)
    inside: int = 0
    most_inside: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def find_ready(self, model: str, version: str) -> None:
        """No model is known at once: no request takes the tensor path."""

    async def resolve(self, model: str, version: str, deadline: float | None, request_id: str) -> FakeModel:
        found = await self.registry.acquire(model, version, deadline)
        call = current_call.get()
        call.model, call.version = found.name, str(found.version)
        return found

    async def infer(
        self, request: InferRequest, *, answers: bool = True, model: FakeModel, arrived: float
    ) -> InferReply:
        assert not answers, "this protocol sends tensors only"
        self.requests.append(request)
        await self._count(1)
        try:
            if gate := self.gates.get(request.request_id):
                await gate.wait()
            predictions = [self.answer(instance) for instance in request.instances]
            return InferReply(request.model, 1, request.request_id, predictions, Timing())
        finally:
            await self._count(-1)

    async def until_inside(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.inside == count)

    async def _count(self, change: int) -> None:
        self.inside += change
        self.most_inside = max(self.most_inside, self.inside)
        async with self.changed:
            self.changed.notify_all()


def echo(instance: Instance) -> Prediction | ZooError:
    """Three scores that grow with the instance, or the error that the instance names."""
    if isinstance(instance, TensorInstance):
        total = float(sum(np.asarray(tensor).sum() for tensor in instance.tensors.values()))
    elif instance.data == b"bad":  # type: ignore[union-attr]
        return InvalidInput("inputs[0]", "not an image")
    elif instance.data == b"crash":  # type: ignore[union-attr]
        raise RuntimeError("a foreign text with /a/path")
    else:
        total = float(len(instance.data))  # type: ignore[union-attr]
    scores = np.array([0, total, total / 2], np.float32)
    return Prediction({"logits": scores, "count": np.array(3, np.int64)})


class State:
    live = True
    ready = True


@dataclass
class Wired:
    """A server with fakes behind it, and a stub that calls it."""

    stub: Any
    inference: FakeInference
    registry: FakeRegistry
    recorder: Recorder
    state: State
    channel: aio.Channel


@asynccontextmanager
async def wired(answer: Callable[[Instance], Prediction | ZooError] = echo) -> AsyncIterator[Wired]:
    registry, state = FakeRegistry(), State()
    inference = FakeInference(answer, registry)
    recorder = Recorder(Metrics(CollectorRegistry()), Statistics(lambda: 1234))
    servicer = OpenInferenceServicer(cast(Any, inference), cast(Any, registry), recorder, state, "9.9")
    server = aio.server()
    counted: Any = CountedServer(server, recorder)
    add_to_server(servicer, counted)
    async with served_port(server, servicer.calls) as port, port.channel() as channel:
        yield Wired(pb_grpc.GRPCInferenceServiceStub(channel), inference, registry, recorder, state, channel)
