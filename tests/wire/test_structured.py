"""Rows, series and records reach the task as they were meant, by either protocol; hostile ones are refused cheaply."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.pb import open_inference_pb2 as oip
from service.pb import prediction_pb2 as pb
from service.types import (
    Forecast,
    ImageInstance,
    InferReply,
    Instance,
    Prediction,
    RecordInstance,
    Regression,
    RowInstance,
    SeriesInstance,
    TensorInstance,
    TextInstance,
    Timing,
)
from service.wire.open_inference.requests import infer_request
from service.wire.open_inference.tensors import encode
from service.wire.structured import LONGEST_ROW, LONGEST_SERIES, MOST_TOGETHER, parse_record, parse_row, parse_series
from service.wire.zoo_v1.prediction_convert import read_request, write_response
from tests.support.wire.fakes import card, spec

FLATS = card("flats", "row", "raw", [spec("numbers", "FP32", -1, 1)], [spec("value", "FP32", -1, 1)])
SALES = card("sales", "series", "raw", [spec("context", "FP32", -1, 2, 1)], [spec("forecast", "FP32", -1, 1, 1)])


def read(instance: pb.Instance) -> Any:
    """One instance, between neighbours that must come through."""
    neighbour = pb.Instance(text="a")
    request = read_request(pb.PredictRequest(model="m", instances=[neighbour, instance, neighbour]), None)
    assert request.instances[0] == request.instances[2] == TextInstance(b"a")
    return request.instances[1]


def row(**cells: Any) -> Struct:
    made = Struct()
    made.update(cells)
    return made


# ── zoo.v1 ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_row_keeps_the_types_of_its_cells() -> None:
    found = read(pb.Instance(row=row(area=70, town="Köln", lift=True, garden=None)))
    assert found == RowInstance({"area": 70.0, "town": "Köln", "lift": True, "garden": None})
    assert read(pb.Instance(row=Struct())) == RowInstance({})
    assert read(pb.Instance(row=Struct(fields={"a": Value()}))) == RowInstance({"a": None})


@pytest.mark.parametrize(("cell", "came"), [([1, 2], "an array"), ({"b": 1}, "an object")])
def test_a_cell_holds_one_value(cell: Any, came: str) -> None:
    wrong = read(pb.Instance(row=row(area=cell)))
    assert isinstance(wrong, InvalidInput)
    assert wrong.field == "instances[1].row.area"
    assert wrong.problem == f"column 'area' takes a number, a text, true, false or null, got {came}"


def test_row_of_too_many_cells_is_refused_before_it_is_read() -> None:
    wrong = read(pb.Instance(row=Struct(fields={str(i): Value(number_value=1) for i in range(10_001)})))
    assert isinstance(wrong, InvalidInput)
    assert wrong.problem == "expected at most 10,000 cells, got 10,001"


@pytest.mark.parametrize(
    ("channels", "expected"), [(0, [[1], [2], [3], [4]]), (1, [[1], [2], [3], [4]]), (2, [[1, 2], [3, 4]])]
)
def test_a_series_is_steps_of_channels(channels: int, expected: list[list[float]]) -> None:
    found = read(pb.Instance(series=pb.Series(values=[1, 2, 3, 4], channels=channels)))
    assert isinstance(found, SeriesInstance)
    assert found.values.tolist() == expected
    assert found.values.dtype == np.float64


@pytest.mark.parametrize(
    ("channels", "field", "says"),
    [
        (-1, "instances[1].series.channels", "expected 1 or more, or 0 for 1, got -1"),
        (3, "instances[1].series.values", "expected a multiple of 3 channels, got 4 numbers"),
    ],
)
def test_channels_that_do_not_fit_are_named(channels: int, field: str, says: str) -> None:
    wrong = read(pb.Instance(series=pb.Series(values=[1, 2, 3, 4], channels=channels)))
    assert isinstance(wrong, InvalidInput)
    assert (wrong.field, wrong.problem) == (field, says)


def record(**parts: pb.Instance) -> pb.Instance:
    return pb.Instance(record=pb.Record(parts=parts))


def test_a_record_keeps_its_parts() -> None:
    found = read(record(image=pb.Instance(image=b"jpeg"), row=pb.Instance(row=row(area=70))))
    assert found == RecordInstance({"image": ImageInstance(b"jpeg"), "row": RowInstance({"area": 70.0})})


@pytest.mark.parametrize(
    ("part", "field", "says"),
    [
        (record(), "instances[1].record.parts.x", "a record cannot be a part of a record"),
        (pb.Instance(), "instances[1].record.parts.x", "got none"),
        (pb.Instance(row=row(a=[1])), "instances[1].record.parts.x.row.a", "got an array"),
    ],
)
def test_a_part_that_is_wrong_is_named(part: pb.Instance, field: str, says: str) -> None:
    wrong = read(record(x=part))
    assert isinstance(wrong, InvalidInput)
    assert wrong.field == field
    assert says in wrong.problem


def test_a_record_of_very_many_parts_is_refused() -> None:
    wrong = read(record(**{f"p{i}": pb.Instance(image=b"") for i in range(17)}))
    assert isinstance(wrong, InvalidInput)
    assert "expected at most 16" in wrong.problem


def test_a_number_is_answered_with_its_interval_where_it_has_one() -> None:
    answers = [Prediction({}, Regression(2.5)), Prediction({}, Regression(-1.0, -2.0, 0.0))]
    bare, full = write_response(InferReply("m", 1, "id", answers, Timing()), False).predictions
    assert bare.WhichOneof("result") == "regression"
    assert bare.regression.value == 2.5
    assert not bare.regression.HasField("lower")
    assert (full.regression.value, full.regression.lower, full.regression.upper) == (-1.0, -2.0, 0.0)
    assert full.regression.HasField("upper"), "0 is an end like any other"


def test_a_forecast_keeps_its_steps_and_channels() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0]])
    answers = [Prediction({}, Forecast(values)), Prediction({}, Forecast(values, values - 1, values + 1))]
    bare, full = write_response(InferReply("m", 1, "id", answers, Timing()), False).predictions
    assert (list(bare.forecast.values), bare.forecast.channels) == ([1, 10, 2, 20], 2)
    assert not bare.forecast.lower
    assert list(full.forecast.lower) == [0, 9, 1, 19]
    assert list(full.forecast.upper) == [2, 11, 3, 21]


# ── JSON, in the Open Inference Protocol ──────────────────────────────────────────────────────────────────────────


def test_json_and_message_give_the_same_instance() -> None:
    cells = {"area": 70, "town": "Köln", "lift": True, "garden": None, "größe 🏠": 1.5}
    assert parse_row(json.dumps(cells).encode(), "x") == read(pb.Instance(row=row(**cells)))
    for values, channels in (([1, 2.5, 3], 1), ([[1, 10], [2, 20]], 2)):
        flat = np.ravel(np.array(values)).tolist()
        message = read(pb.Instance(series=pb.Series(values=flat, channels=channels)))
        np.testing.assert_array_equal(parse_series(json.dumps(values).encode(), "x").values, message.values)
    photo = bytes(range(256))
    document = {"image": base64.b64encode(photo).decode(), "row": cells}
    message = read(record(image=pb.Instance(image=photo), row=pb.Instance(row=row(**cells))))
    assert parse_record(json.dumps(document).encode(), "x") == message


def test_gap_in_json_is_left_to_the_task() -> None:
    np.testing.assert_array_equal(
        parse_series(b"[1, null, NaN, Infinity]", "x").values[:, 0], [1, np.nan, np.nan, np.inf]
    )
    assert parse_series(b"[]", "x").values.shape == (0, 1)
    assert str(parse_row(b'{"a": NaN}', "x").cells["a"]) == "nan"


Parse = Callable[[bytes, str], Instance]
ROW: Parse = parse_row
SERIES: Parse = parse_series
RECORD: Parse = parse_record
REFUSED: list[tuple[Parse, bytes, str]] = [
    (ROW, b"", "x: expected JSON of an object of cells by column, got something that is no JSON at position 0"),
    (ROW, b"area=70", "got something that is no JSON at position 0"),
    (ROW, b'{"a": 1} {', "got something that is no JSON at position 9"),
    (ROW, b'{"a": \xff}', "x: expected UTF-8, got a byte that is not at position 6"),
    (ROW, b"[1, 2]", "x: expected JSON of an object of cells by column, got an array"),
    (ROW, b"null", "got null"),
    (ROW, b'"text"', "got a text"),
    (ROW, b'{"a": {"b": 1}}', "x.row.a: column 'a' takes a number, a text, true, false or null, got an object"),
    (ROW, b'{"a": [1]}', "got an array"),
    (ROW, rb'{"\ud800": 1}', "x: holds half a surrogate pair, which is no text"),
    (ROW, rb'{"a": "\uDFFF"}', "x: holds half a surrogate pair, which is no text"),
    (ROW, b'{"a": 1, "b": 2, "a": 3}', "x: expected each name once, got 'a' again"),
    (ROW, b'{"a": ' + b"[" * 100_000, "nested too deep"),
    (ROW, b'{"a":' * 50_000, "nested too deep"),
    (ROW, b" " * (LONGEST_ROW + 1), f"x: expected at most 262,144 bytes of JSON, got {LONGEST_ROW + 1:,}"),
    (ROW, json.dumps({str(i): 1 for i in range(10_001)}).encode(), "expected at most 10,000 cells, got 10,001"),
    (
        SERIES,
        b'{"values": [1]}',
        "expected JSON of an array of numbers, or of arrays with as many numbers each, got an object",
    ),
    (SERIES, b"7", "got a number"),
    (SERIES, b'[1, "2"]', "x: expected numbers alone, got a text in step 1"),
    (SERIES, b"[1, true]", "x: expected numbers alone, got a truth value in step 1"),
    (SERIES, b"[[1, 2], [3]]", "x: expected 2 numbers in every step, got 1 in step 1"),
    (SERIES, b"[1, [2, 3]]", "x: expected numbers alone, got an array in step 1"),
    (SERIES, b"[[1, 2], 3]", "x: expected 2 numbers in every step, got 1 in step 1"),
    (SERIES, b" " * (LONGEST_SERIES + 1), "x: expected at most 1,048,576 bytes of JSON"),
    (SERIES, b"[[[1]]]", "x: expected numbers alone, got an array in step 0"),
    (SERIES, b"[" * 100_000, "nested too deep"),
    (RECORD, b"[]", "x: expected JSON of an object with an image and a row, got an array"),
    (RECORD, b'{"image": "a b"}', "x.image: expected base64, got characters or a length that it does not have"),
    (RECORD, b'{"image": "abc"}', "x.image: expected base64"),
    (RECORD, '{"image": "ü"}'.encode(), "x.image: expected base64"),
    (RECORD, b'{"image": 5}', "x.image: expected an encoded image in base64, got a number"),
    (RECORD, b'{"row": 5}', "x: expected JSON of an object of cells by column, got a number"),
    (RECORD, b'{"row": {"a": []}}', "x.row.a: column 'a'"),
    (RECORD, b'{"sound": ""}', "x.sound: a record has an image and a row, and nothing else"),
]


@pytest.mark.parametrize(("parse", "data", "says"), REFUSED, ids=[says[-60:] for _, _, says in REFUSED])
def test_error_names_the_mistake_in_json(parse: Parse, data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(data, "x")
    assert says in refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("digits", [400, 5_000, 250_000])
def test_a_number_of_very_many_digits_costs_nothing(digits: int) -> None:
    """Python's whole numbers take the square of their digits to read; doubles do not."""
    assert parse_row(b'{"a": ' + b"9" * digits + b"}", "x").cells["a"] == float("inf")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.sampled_from([ROW, SERIES, RECORD]), st.one_of(st.binary(max_size=40), st.text('{}[]":,01.eE-ntr ', max_size=40))
)
def test_any_bytes_raise_invalid_input_alone(parse: Parse, data: bytes | str) -> None:
    with suppress(InvalidInput):
        parse(data if isinstance(data, bytes) else data.encode(), "x")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from([ROW, SERIES, RECORD]), JSON)
def test_any_json_is_read_or_refused(parse: Parse, document: Any) -> None:
    with suppress(InvalidInput):
        parse(json.dumps(document).encode(), "x")


def test_each_element_of_a_raw_input_is_a_row_of_its_own() -> None:
    elements = [b'{"area": 70}', b'{"area": null}']
    message = oip.ModelInferRequest(
        model_name="flats", raw_input_contents=[encode(np.array(elements, object), "BYTES")]
    )
    message.inputs.add(name="row", datatype="BYTES", shape=[2, 1])
    request = infer_request(message, FLATS, None)
    assert request.instances == [RowInstance({"area": 70.0}), RowInstance({"area": None})]
    assert request.path(1) == "inputs[0][1]"


def test_cells_of_all_rows_in_one_request_are_bounded() -> None:
    """They are read where all callers wait, so many messages pass where one large one would hold up everybody."""
    wide = Struct(fields={str(i): Value(number_value=1) for i in range(5_000)})
    for instance in (pb.Instance(row=wide), record(row=pb.Instance(row=wide))):
        read_request(pb.PredictRequest(model="m", instances=[instance] * (MOST_TOGETHER // 5_000)), None)
        with pytest.raises(InvalidInput, match="expected at most 200,000 cells in one request, got 205,000"):
            read_request(pb.PredictRequest(model="m", instances=[instance] * (MOST_TOGETHER // 5_000 + 1)), None)
    elements = [b"[" + b"1," * 50_000 + b"1]"] * 4
    message = oip.ModelInferRequest(
        model_name="sales", raw_input_contents=[encode(np.array(elements, object), "BYTES")]
    )
    message.inputs.add(name="series", datatype="BYTES", shape=[4, 1])
    with pytest.raises(InvalidInput, match=r"inputs\[0\]: expected at most 200,000 cells in one request, got 200,004"):
        infer_request(message, SALES, None)


def test_error_names_the_wrong_row() -> None:
    elements = [b'{"area": 70}', b'{"area": [70]}']
    message = oip.ModelInferRequest(
        model_name="flats", raw_input_contents=[encode(np.array(elements, object), "BYTES")]
    )
    message.inputs.add(name="row", datatype="BYTES", shape=[2])
    with pytest.raises(InvalidInput) as refused:
        infer_request(message, FLATS, None)
    assert refused.value.field == "inputs[0][1].row.area"


def test_a_series_may_come_as_json_or_as_the_networks_own_tensor() -> None:
    raw = oip.ModelInferRequest(model_name="sales", raw_input_contents=[encode(np.array([b"[1, 2]"], object), "BYTES")])
    raw.inputs.add(name="series", datatype="BYTES", shape=[1, 1])
    [instance] = infer_request(raw, SALES, None).instances
    assert isinstance(instance, SeriesInstance)
    assert instance.values.tolist() == [[1], [2]]
    tensor = oip.ModelInferRequest(model_name="sales", raw_input_contents=[np.array([1, 2], np.float32).tobytes()])
    tensor.inputs.add(name="context", datatype="FP32", shape=[1, 2, 1])
    [instance] = infer_request(tensor, SALES, None).instances
    assert isinstance(instance, TensorInstance)
    assert instance.tensors["context"].tolist() == [[1], [2]]
