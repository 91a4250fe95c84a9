"""The cost of a call without a network. Two servers of the same protocol:

    python -m benchmarks.participants.null_server zoo     a whole Zoo server, with a network that returns its input
    python -m benchmarks.participants.null_server echo    a bare grpc.aio servicer that parses a request and answers at once

Each logs its port as a JSON line and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import grpc
import torch

from model_zoo.cards.card import Card
from model_zoo.cards.signature import Signature, TensorSpec
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import ZooError
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc
from service.registry.loading.loaded import Loaded, LoadedHead
from service.runtime.network import NetworkRuntime
from service.server import run
from service.settings import load_settings
from service.tasks.base import Task
from service.types import Answer, Instance, Item, Options, Tensors

WIDTH = 4


class Null(torch.nn.Module):
    """y = x."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """`x` (rows, 4) → `y` (rows, 4)."""
        return {"y": x}


class NullTask(Task):
    """Accepts tensors only."""

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        raise NotImplementedError

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        raise NotImplementedError

    def golden_instance(self, given: GoldenInput) -> Instance:
        raise NotImplementedError

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        raise NotImplementedError


class NullLoader:
    """Loads the network that returns its input."""

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        return Loaded(NullTask(card), NetworkRuntime(Null(), "cpu"), 0.0)

    def load_head(self, card: Card) -> LoadedHead:
        raise NotImplementedError(f"{card.name} has no head of its own")


def null_card() -> Card:
    """The card of `null`: `x` FP32 [-1, 4] → `y` FP32 [-1, 4], up to 64 rows a batch."""
    x, y = (TensorSpec(name=name, datatype="FP32", shape=(-1, WIDTH)) for name in "xy")
    card = Catalog.from_package().get("efficientnet_lite0")
    batching = card.batching.model_copy(update={"max_batch_size": 64})
    changes = {"name": "null", "labels": None, "signature": Signature(inputs=(x,), outputs=(y,)), "batching": batching}
    return card.model_copy(update=changes)


class Echo(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Returns its input."""

    async def ModelInfer(self, request: pb.ModelInferRequest, context: object) -> pb.ModelInferResponse:  # noqa: N802
        response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.raw_output_contents.append(request.raw_input_contents[0])
        return response

    async def ModelStreamInfer(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: object
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        async for request in request_iterator:
            yield pb.ModelStreamInferResponse(infer_response=await self.ModelInfer(request, context))


async def echo() -> None:
    """Serve the bare echo."""
    server = grpc.aio.server()
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "live", "grpc_port": port, "http_port": 0}), file=sys.stderr, flush=True)
    print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)
    await server.wait_for_termination()


def main() -> None:
    """The command line."""
    if sys.argv[1] == "echo":
        asyncio.run(echo())
    else:
        settings = load_settings(models=("null",), port=0, http_port=0, log_format="json", optimize="off")
        run(settings, Catalog([null_card()]), NullLoader())


if __name__ == "__main__":
    main()
