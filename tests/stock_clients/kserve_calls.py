"""What KServe's Python client gets to see of a server, as JSON. `python kserve_calls.py HOST:PORT CAT.jpg`

A process of its own: its generated messages have the names that Triton's have, and one process cannot hold both.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

CNN, RNN, TRANSFORMER = "efficientnet_lite0", "silero_vad", "all_minilm_l6_v2"


async def run(target: str, photo: bytes) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with InferenceGRPCClient(target) as client:
        seen["live"] = await client.is_server_live()
        seen["ready"] = await client.is_server_ready()
        seen["model ready"] = await client.is_model_ready(CNN)
        seen["unknown model ready"] = await client.is_model_ready("no_such_model")

        image = InferInput("image", [1, 1], "BYTES", np.array([[photo]], np.object_))
        reply = await client.infer(InferRequest(CNN, [image], request_id="cat"))
        logits = reply.outputs[0].as_numpy()
        seen["cat"] = {"id": reply.id, "model": reply.model_name, "version": reply.model_version}
        seen["cat"] |= {"output": reply.outputs[0].name, "shape": logits.shape, "best": int(logits.argmax())}

        texts = InferInput("text", [2, 1], "BYTES", ["A cat sleeps on the sofa.", "A kitten naps on the couch."])
        reply = await client.infer(InferRequest(TRANSFORMER, [texts]))
        vectors = reply.outputs[0].as_numpy()
        seen["likeness"] = float(vectors[0] @ vectors[1])

        samples = InferInput("samples", [2, 1000], "FP32", np.zeros((2, 1000), np.float32))
        reply = await client.infer(InferRequest(RNN, [samples]))
        seen["sound"] = {output.name: output.as_numpy().tolist() for output in reply.outputs}

        try:
            await client.infer(InferRequest(RNN, [InferInput("sound", [1, 1], "FP32", [0.0])]))
        except grpc.RpcError as error:
            seen["refusal"] = [error.code().name, error.details()]

    async with grpc.aio.insecure_channel(target) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        server = await stub.ServerMetadata(pb.ServerMetadataRequest())
        seen["server"] = [server.name, list(server.extensions)]
        model = await stub.ModelMetadata(pb.ModelMetadataRequest(name=CNN))
        seen["metadata"] = [
            model.name,
            list(model.versions),
            [(t.name, t.datatype, list(t.shape)) for t in model.inputs],
        ]
        unloaded = await stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=RNN))
        ready = await stub.ModelReady(pb.ModelReadyRequest(name=RNN))
        seen["unloaded"] = [unloaded.model_name, unloaded.isUnloaded, ready.ready]
        loaded = await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=RNN))
        ready = await stub.ModelReady(pb.ModelReadyRequest(name=RNN))
        seen["loaded"] = [loaded.model_name, loaded.isLoaded, ready.ready]
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], Path(sys.argv[2]).read_bytes()))))
