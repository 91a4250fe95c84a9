"""The corridor's answers → ModelInfer's messages: rows stacked to tensors, always as raw contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, ZooError
from service.pb import open_inference_pb2 as pb
from service.types import Array, InferReply, Prediction
from service.wire.open_inference.tensors import encode
from service.wire.status import LONGEST_MESSAGE, cut

if TYPE_CHECKING:
    from service.wire.open_inference.convert import WantedOutput

FINAL_RESPONSE = "triton_final_response"


def infer_response(
    request: pb.ModelInferRequest, wanted: Sequence[WantedOutput], labels: Sequence[str], reply: InferReply
) -> pb.ModelInferResponse:
    """Stacks the rows of every wanted output. The first row that failed fails the call."""
    predictions: list[Prediction] = []
    for prediction in reply.predictions:
        if isinstance(prediction, ZooError):
            raise prediction
        predictions.append(prediction)
    response = pb.ModelInferResponse(model_name=reply.model, model_version=str(reply.version), id=request.id)
    for i, output in enumerate(wanted):
        rows = _rows_of(predictions, output.spec.name)
        if output.classes is None:
            array, datatype = stack(rows), output.spec.datatype
        else:
            if output.spec.datatype == "BYTES":
                raise InvalidInput(
                    f"outputs[{i}].parameters[classification]", "expected an output of numbers, got BYTES"
                )
            array, datatype = best_classes(rows, output.classes, labels), "BYTES"
        response.outputs.add(name=output.spec.name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(encode(array, datatype))
    _add_notes(response, predictions)
    return response


def stream_reply(response: pb.ModelInferResponse) -> pb.ModelStreamInferResponse:
    """One request of a stream, answered: ours are never decoupled, so the one reply is the final one."""
    response.parameters[FINAL_RESPONSE].bool_param = True
    return pb.ModelStreamInferResponse(infer_response=response)


def stream_error(request: pb.ModelInferRequest, error: ZooError) -> pb.ModelStreamInferResponse:
    """One request of a stream, failed: the stream stays open, and the id tells which it was."""
    response = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
    response.parameters[FINAL_RESPONSE].bool_param = True
    return pb.ModelStreamInferResponse(error_message=cut(error.message, LONGEST_MESSAGE), infer_response=response)


def stack(rows: Sequence[Array]) -> Array:
    """Rows → `[n, …]`. Rows of unlike lengths are padded with zeros at the end."""
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


def _rows_of(predictions: Sequence[Prediction], name: str) -> list[Array]:
    return [prediction.tensors[name] for prediction in predictions]


def _add_notes(response: pb.ModelInferResponse, predictions: Sequence[Prediction]) -> None:
    """What preprocessing has to tell, as parameters. For several rows: whether any, and the largest number."""
    merged: dict[str, str | int | float | bool] = {}
    for prediction in predictions:
        for key, value in prediction.notes.items():
            before = merged.get(key)
            # Notes of one key have one type; True is the larger bool, and of texts the first stays.
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
