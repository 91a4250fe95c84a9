"""Values of protobuf's well-known types become values of Python, in an order that does not change from process to process."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from service.errors import InvalidInput
from service.pb import open_inference_pb2
from service.pb import prediction_pb2 as pb
from service.protobuf_values import seconds, sorted_items, struct_dict
from service.types import TensorInstance
from service.wire.open_inference.requests import checked_parameters
from service.wire.structured import read_row
from service.wire.zoo_v1.prediction_convert import read_request

NAMES = [f"x{number}" for number in range(40)]
"""So many that a random order has them sorted once in 10^47 times."""


def struct(values: dict[str, object]) -> Struct:
    made = Struct()
    made.update(values)  # type: ignore[arg-type]
    return made


def test_entries_of_a_map_come_in_the_order_of_their_names() -> None:
    message = struct(dict.fromkeys(NAMES, 1.0))
    assert [name for name, _ in sorted_items(message.fields)] == sorted(NAMES)
    assert [*struct_dict(message)] == sorted(NAMES)


def test_integers_survive_the_way_through_a_struct() -> None:
    assert struct_dict(struct({"n": 5, "x": 0.5, "none": None, "in": {"b": [1, True, "t"]}})) == {
        "n": 5,
        "x": 0.5,
        "none": None,
        "in": {"b": [1, True, "t"]},
    }


def test_duration_becomes_seconds() -> None:
    assert seconds(Duration(seconds=2, nanos=500_000_000)) == 2.5


def test_first_of_several_wrong_parameters_is_named() -> None:
    request = open_inference_pb2.ModelInferRequest()
    for name in NAMES:
        request.parameters[f"triton_{name}"].bool_param = True
    with pytest.raises(InvalidInput) as caught:
        checked_parameters(request.parameters, None)
    assert caught.value.field == "parameters[triton_x0]"


def test_first_of_several_wrong_cells_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_row(struct({name: [1.0] for name in NAMES}), "row")
    assert caught.value.field == "row.x0"


def test_tensors_of_an_instance_come_in_the_order_of_their_names() -> None:
    tensor = pb.Tensor(datatype="FP32", shape=[1], data=bytes(4))
    instance = pb.Instance(tensors=pb.TensorMap(tensors=dict.fromkeys(NAMES, tensor)))
    [read] = read_request(pb.PredictRequest(model="m", instances=[instance]), None).instances
    assert isinstance(read, TensorInstance)
    assert [*read.tensors] == sorted(NAMES)
