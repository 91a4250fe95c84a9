"""A request runs through the layers of `service/` in their order, and enters them by few modules.

Each layer has entrances: the modules that other layers, gRPC, the event loop or a thread call. The rest of a layer is its own.
A reader who follows a request needs the entrances; the tests count them over a real call, in all threads.
"""

import ast
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import torch
from grpc import aio

from service.pb import open_inference_pb2_grpc, prediction_pb2, prediction_pb2_grpc
from service.registry.loading.loader import Loaded
from service.runtime.network import NetworkRuntime
from service.wire.calls import CountedServer
from service.wire.open_inference.servicer import add_to_server
from service.wire.zoo_v1.prediction import PredictionServicer
from tests.support.paths import REPOSITORY
from tests.support.registry.fakes import FakeLoader, world
from tests.support.scheduler.fakes import until
from tests.support.source import imported_by, module_name
from tests.support.wire.layer_trace import LayerTrace, traced
from tests.support.wire.open_inference import asks, servicer

MOST_ENTRANCES = 12
MOST_MODULES = 32
"""Entrances, and the modules behind them."""

SPINE = ["wire", "inference", "registry", "engine", "scheduler", "runtime"]
"""Every request enters these layers in this order."""

LAYERS = [*SPINE[:4], "tasks", *SPINE[4:], "access"]
"""In the order of imports. Several layers call `tasks`; `wire` asks `access` whose call it is."""


class Doubled(torch.nn.Module):
    """y = 2 x + 1."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x * 2 + 1}


class TorchLoader(FakeLoader):
    """Loads a network of torch in place of the fake runtime."""

    def load(self, card: Any, precision: str | None = None) -> Loaded:
        task = super().load(card, precision).task
        made = self.loaded[card.name] = Loaded(task, NetworkRuntime(Doubled(), "cpu"), 0.0)
        return made


@pytest.fixture(autouse=True)
def torch_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.registry.fakes.FakeLoader", TorchLoader)


async def trace_of(call: Callable[[aio.Channel], Awaitable[object]]) -> LayerTrace:
    """The trace of one call to a server on a port; the first calls, which fill caches, are not in it."""
    with traced() as trace:
        async with world() as w:
            server = aio.server()
            counted = cast(Any, CountedServer(server, w.recorder))
            add_to_server(servicer(w), counted)
            prediction_pb2_grpc.add_PredictionServicer_to_server(PredictionServicer(w.inference, w.recorder), counted)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            try:
                async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    await call(channel)
                    await until(lambda: cast(Any, w.scheduler._work)._waiters)  # the lane has done with it
                    trace.on = True
                    await call(channel)
                    trace.on = False
            finally:
                await server.stop(None)
                cast(Any, w.loader).loaded.clear()
    return trace


async def predict(channel: aio.Channel) -> None:
    stub: Any = prediction_pb2_grpc.PredictionStub(channel)
    request = prediction_pb2.PredictRequest(model="adder", instances=[prediction_pb2.Instance(text="7")])
    (prediction,) = (await stub.Predict(request)).predictions
    assert list(prediction.embedding.values) == [15]


async def model_infer(channel: aio.Channel) -> None:
    stub: Any = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
    assert list((await stub.ModelInfer(asks(1, 2))).outputs[0].shape) == [2, 1]


@pytest.mark.asyncio
@pytest.mark.parametrize("call", [predict, model_infer])
async def test_request_runs_through_the_layers_in_their_order(
    call: Callable[[aio.Channel], Awaitable[object]],
) -> None:
    trace = await trace_of(call)
    first = trace.first_entries
    assert [layer for layer in first if layer in SPINE] == SPINE
    assert set(first) == set(LAYERS)
    for layer, caller in first.items():
        if layer == "wire":
            assert caller is None, "gRPC calls it"
        else:
            assert caller is not None
            assert LAYERS.index(caller) < LAYERS.index(layer), f"{layer} is first entered from {caller}"


@pytest.mark.asyncio
@pytest.mark.parametrize("call", [predict, model_infer])
async def test_request_enters_the_layers_by_few_modules(call: Callable[[aio.Channel], Awaitable[object]]) -> None:
    trace = await trace_of(call)
    assert len(trace.entrances) <= MOST_ENTRANCES, trace.entrances
    assert len(trace.modules) <= MOST_MODULES, trace.modules


@pytest.mark.parametrize(
    ("package", "engine", "never"),
    [
        ("inference", {"loaded_model"}, {"registry", "scheduler", "runtime", "verification", "tiering", "jobs"}),
        ("wire/open_inference", {"loaded_model", "tier_report"}, {"scheduler", "runtime", "verification", "tiering"}),
        ("wire/zoo_v1", {"tier_report", "decisions"}, {"scheduler", "runtime", "tiering"}),
    ],
)
def test_request_pipeline_knows_a_loaded_model_by_its_interface_alone(
    package: str, engine: set[str], never: set[str]
) -> None:
    """`tier_report` and `decisions` are reports of figures, for status replies."""
    for path in sorted((REPOSITORY / "service" / package).glob("*.py")):
        for target in imported_by(ast.parse(path.read_text()), module_name(path), path.name == "__init__.py"):
            parts = target.split(".")
            if parts[0] != "service" or len(parts) < 2:
                continue
            assert parts[1] not in never, f"{path.name} imports {target}"
            assert parts[1] != "engine" or parts[2] in engine, f"{path.name} imports {target}"
