"""Writes ModelInfer's replies: rows of outputs stacked to tensors, always as raw contents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, ZooError
from service.pb import open_inference_pb2 as pb
from service.types import Array, InferReply, Prediction, Tensors
from service.wire.open_inference.requests import WantedOutput
from service.wire.open_inference.tensors import encode
from service.wire.status import LONGEST_MESSAGE, cut

FINAL_RESPONSE = "triton_final_response"
"""Zoo's streams are never decoupled: a request has one reply, which is the final one."""


def infer_response(
    request: pb.ModelInferRequest, wanted: Sequence[WantedOutput], labels: Sequence[str], reply: InferReply
) -> pb.ModelInferResponse:
    """The reply of a request of raw inputs. The first row that failed fails the call."""
    predictions: list[Prediction] = []
    for prediction in reply.predictions:
        if isinstance(prediction, ZooError):
            raise prediction
        predictions.append(prediction)
    response = pb.ModelInferResponse()
    write_head(response, reply.model, reply.version, request.id)
    add_outputs(response, wanted, [prediction.tensors for prediction in predictions], labels)
    _add_notes(response, predictions)
    return response


def write_head(response: pb.ModelInferResponse, model: str, version: int, request_id: str) -> None:
    """Which model answers which request."""
    response.model_name, response.model_version, response.id = model, str(version), request_id


def add_outputs(
    response: pb.ModelInferResponse, wanted: Sequence[WantedOutput], rows: Sequence[Tensors], labels: Sequence[str]
) -> None:
    """Stacks the rows of every wanted output, and copies those for shared memory there. Raises InvalidInput where classes of an
    output of BYTES are wanted, or where an output does not fit into its shared memory."""
    for i, (name, datatype, classes, span) in enumerate(wanted):
        if classes is not None:
            if datatype == "BYTES":
                raise InvalidInput(
                    f"outputs[{i}].parameters[classification]", "expected an output of numbers, got BYTES"
                )
            array: Array = best_classes([row[name] for row in rows], classes, labels)
            datatype, shape = "BYTES", array.shape
        elif len(rows) == 1:  # saves a view
            array = rows[0][name]
            shape = (1, *array.shape)
        else:
            array = stack([row[name] for row in rows])
            shape = array.shape
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        data = encode(array, datatype)
        if span is not None:
            span.write(data)
            data = b""  # as Triton: clients find the raw contents of the other outputs by position
        response.raw_output_contents.append(data)


def stream_reply(response: pb.ModelInferResponse) -> pb.ModelStreamInferResponse:
    """The reply to one request of a stream that was answered."""
    response.parameters[FINAL_RESPONSE].bool_param = True
    return pb.ModelStreamInferResponse(infer_response=response)


def stream_error(request: pb.ModelInferRequest, error: ZooError) -> pb.ModelStreamInferResponse:
    """The reply to one request of a stream that failed. The stream stays open, and the id says which request it was."""
    response = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
    response.parameters[FINAL_RESPONSE].bool_param = True
    return pb.ModelStreamInferResponse(error_message=cut(error.message, LONGEST_MESSAGE), infer_response=response)


def stack(rows: Sequence[Array]) -> Array:
    """Rows → `[n, …]`. Rows of different lengths are padded with zeros at the end."""
    if len(rows) == 1:
        return rows[0][np.newaxis]
    shapes = {row.shape for row in rows}
    if len(shapes) == 1:
        return np.stack(rows)
    shape = np.array([row.shape for row in rows]).max(axis=0)
    stacked = np.zeros((len(rows), *shape), rows[0].dtype)
    for i, row in enumerate(rows):
        corner: tuple[slice[None, int, None], ...] = tuple(slice(size) for size in row.shape)
        stacked[i][corner] = row
    return stacked


def best_classes(rows: Sequence[Array], classes: int, labels: Sequence[str]) -> NDArray[np.object_]:
    """The classification extension: BYTES `[n, k]` of `score:index` or `score:index:label`, largest first.

    `k` is clipped to the classes there are. Scores have six decimals, as Triton prints them.
    """
    k = min(classes, max(row.size for row in rows))
    best = np.full((len(rows), k), b"", np.object_)
    for i, row in enumerate(rows):
        scores = row.ravel()
        named = len(labels) == scores.size
        for j, index in enumerate(np.argsort(-scores.astype(np.float64), kind="stable")[:k].tolist()):
            text = f"{float(scores[index]):f}:{index}"
            best[i, j] = (f"{text}:{labels[index]}" if named else text).encode()
    return best


def _add_notes(response: pb.ModelInferResponse, predictions: Sequence[Prediction]) -> None:
    """Notes of preprocessing, as parameters. Of several rows: whether any row has the note, and the largest number."""
    merged: dict[str, str | int | float | bool] = {}
    for prediction in predictions:
        for key, value in prediction.notes.items():
            before = merged.get(key)
            # Notes of one key have one type; True is greater than False, and of texts the first stays.
            if before is None or (not isinstance(value, str) and not isinstance(before, str) and value > before):
                merged[key] = value
    for key, value in merged.items():
        parameter = response.parameters[key]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int):
            parameter.int64_param = value
        elif isinstance(value, float):
            parameter.double_param = value
        else:
            parameter.string_param = value
