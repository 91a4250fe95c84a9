"""Parameters of a ModelInferRequest are options of its model, and a wrong one is refused by the name of the parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.types import ImageInstance, Options
from service.wire.open_inference.option_parameters import kernel_names, options_of
from service.wire.open_inference.requests import infer_request
from service.wire.open_inference.tensors import encode

FILTER, CLASSIFIER = (Catalog.from_package().get(name) for name in ("image_filter", "efficientnet_lite0"))


def request(**parameters: Any) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="image_filter")
    made.inputs.add(name="image", datatype="BYTES", shape=[2, 1])
    made.raw_input_contents.append(encode(np.array([b"1", b"2"], object), "BYTES"))
    for name, value in parameters.items():
        kind = {str: "string_param", int: "int64_param", float: "double_param", bool: "bool_param"}[type(value)]
        setattr(made.parameters[name], kind, value)
    return made


def test_parameters_are_the_options_of_all_rows() -> None:
    found = infer_request(request(kernel="blur", kernel_scale=2, kernel_offset=1.5, timeout=1_000_000), FILTER, None)
    assert found.options == Options(kernel="blur", kernel_scale=2.0, kernel_offset=1.5)
    assert list(found.instances) == [ImageInstance(b"1"), ImageInstance(b"2")]


def test_request_without_parameters_has_no_options() -> None:
    assert infer_request(request(), FILTER, None).options == Options()


def test_parameters_mean_nothing_to_other_models() -> None:
    assert options_of(request(kernel="no such"), CLASSIFIER) == Options()
    assert kernel_names(CLASSIFIER) == ()
    assert kernel_names(FILTER)[0] == "sharpen"


@pytest.mark.parametrize(
    ("parameters", "field", "reason"),
    [
        ({"kernel": "no such"}, "kernel", "expected one of sharpen"),
        ({"kernel": "1,2,3"}, "kernel", "expected nine numbers, row by row, got 3"),
        ({"kernel": 3}, "kernel", "expected string_param, got int64_param"),
        ({"kernel_scale": 0.0}, "kernel_scale", "expected a number from"),
        ({"kernel_scale": "2"}, "kernel_scale", "expected double_param, got string_param"),
        ({"kernel_offset": float("nan")}, "kernel_offset", "got nan"),
        ({"kernel_offset": True}, "kernel_offset", "expected double_param, got bool_param"),
    ],
)
def test_wrong_parameter_is_refused_by_name(parameters: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        infer_request(request(**parameters), FILTER, None)
    assert refused.value.field == f"parameters[{field}]"
