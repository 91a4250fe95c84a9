"""Tensors come in as they were sent, and every way of sending them wrong is named by its field."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.types import DTYPES
from service.wire.open_inference.tensors import (
    CONTENTS_FIELD,
    decode_inputs,
    decode_raw,
    encode,
)

Input = pb.ModelInferRequest.InferInputTensor


def raw(datatype: str, shape: Sequence[int], data: bytes) -> Any:
    return decode_raw(datatype, shape, data, "inputs[0]", "raw_input_contents[0]")


def typed(datatype: str, shape: Sequence[int], **contents: Any) -> Any:
    tensor = Input(name="x", datatype=datatype, shape=shape, contents=pb.InferTensorContents(**contents))
    return decode_inputs(pb.ModelInferRequest(inputs=[tensor]))[0]


def refused(function: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        function(*arguments, **named)
    return caught.value.message


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


# ── round trips ─────────────────────────────────────────────────────────────────────────────────────────────


@given(st.data(), st.sampled_from(sorted(DTYPES)))
def test_numbers_survive_the_round_trip(data: st.DataObject, datatype: str) -> None:
    array = data.draw(hnp.arrays(DTYPES[datatype], SHAPES))
    back = raw(datatype, array.shape, encode(array, datatype))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(hnp.arrays(np.object_, SHAPES, elements=st.binary(max_size=9), fill=st.nothing()))
def test_bytes_survive_the_round_trip(array: Any) -> None:
    back = raw("BYTES", array.shape, encode(array, "BYTES"))
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@given(hnp.arrays(np.uint16, SHAPES))
def test_bf16_is_the_upper_half_of_a_float32(bits: Any) -> None:
    array = raw("BF16", bits.shape, bits.tobytes())
    assert array.dtype == np.float32
    expected = (bits.astype(np.uint32) << 16).view(np.float32) if bits.ndim else array
    np.testing.assert_array_equal(array, expected)
    back = np.frombuffer(encode(array, "BF16"), np.uint16).reshape(bits.shape)
    numbers = ~np.isnan(array)
    np.testing.assert_array_equal(back[numbers], bits[numbers])
    assert np.isnan(raw("BF16", bits.shape, back.tobytes())).sum() == np.isnan(array).sum()


def test_bf16_rounds_to_nearest_even() -> None:
    halves = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF], np.uint32).view(np.float32)
    assert np.frombuffer(encode(halves, "BF16"), np.uint16).tolist() == [0x3F80, 0x3F82, 0x3F81, 0x7F80]


@given(st.data(), st.sampled_from(sorted(set(CONTENTS_FIELD) - {"BYTES"})))
def test_typed_numbers_arrive(data: st.DataObject, datatype: str) -> None:
    floats = {"allow_nan": False} if DTYPES[datatype].kind == "f" else {}
    elements = hnp.from_dtype(DTYPES[datatype], **floats)
    array = data.draw(hnp.arrays(DTYPES[datatype], SHAPES, elements=elements))
    back = typed(datatype, array.shape, **{CONTENTS_FIELD[datatype]: array.ravel().tolist()})
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_typed_bytes_arrive() -> None:
    assert typed("BYTES", [2, 1], bytes_contents=[b"", b"ab"]).tolist() == [[b""], [b"ab"]]


def test_raw_numbers_are_a_view_of_the_message() -> None:
    data = np.arange(6, dtype=np.float32).tobytes()
    array = raw("FP32", [2, 3], data)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert not array.flags.writeable


def test_elements_leave_row_major_and_little_endian() -> None:
    assert encode(np.array([[1, 2], [3, 4]], ">i2").T, "INT16") == struct.pack("<4h", 1, 3, 2, 4)


def test_output_of_another_kind_than_announced_raises_type_error() -> None:
    with pytest.raises(TypeError):
        encode(np.zeros(2), "INT64")


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP32", [1, 2], bytes(7), "raw_input_contents[0]: expected 8 bytes for FP32 [1, 2], got 7"),
        ("FP32", [1, 2], bytes(12), "raw_input_contents[0]: expected 8 bytes for FP32 [1, 2], got 12"),
        ("BF16", [3], bytes(12), "raw_input_contents[0]: expected 6 bytes for BF16 [3], got 12"),
        ("FP32", [1, -2], bytes(8), "inputs[0].shape: sizes are 0 or more, got [1, -2]"),
        ("FP8", [1], bytes(1), "inputs[0].datatype: expected one of BOOL, "),
        ("", [1], bytes(1), "inputs[0].datatype: expected one of BOOL, "),
        ("BOOL", [2], b"\x01\x02", "raw_input_contents[0]: BOOL elements are 0 or 1, got 2"),
        ("BYTES", [2], b"\x01\0\0\0a", "raw_input_contents[0]: expected at least 8 bytes for 2 BYTES elements, got 5"),
        (
            "BYTES",
            [2],
            b"\x01\0\0\0a\0\0\0",
            "raw_input_contents[0]: expected 2 BYTES elements, got 1 and 3 bytes more",
        ),
        ("BYTES", [1], b"\x05\0\0\0ab", "raw_input_contents[0]: element 0 should have 5 bytes, got 2"),
        ("BYTES", [1], b"\xff\xff\xff\xffab", "raw_input_contents[0]: element 0 should have 4294967295 bytes, got 2"),
        ("BYTES", [1], b"\x01\0\0\0abc", "raw_input_contents[0]: 2 bytes are left over after 1 BYTES elements"),
    ],
)
def test_raw_bytes_that_do_not_fit_are_refused(datatype: str, shape: list[int], data: bytes, message: str) -> None:
    assert refused(raw, datatype, shape, data).startswith(message)


@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BF16"])
@pytest.mark.parametrize("shape", [[2**62, 2**62], [0, 2**62], [2**62, 0, 2**62], [1 << 49]])
def test_a_shape_that_no_memory_holds_is_refused_before_it_is_allocated(datatype: str, shape: list[int]) -> None:
    assert refused(raw, datatype, shape, b"").startswith("inputs[0].shape: ")


def test_a_large_shape_over_few_bytes_is_refused_before_it_is_allocated() -> None:
    assert "got 4" in refused(raw, "BYTES", [1 << 40], bytes(4))
    assert "got 4" in refused(raw, "FP32", [1 << 40], bytes(4))
    assert "got 0" in refused(typed, "INT8", [1 << 40])


def test_too_many_axes_are_refused() -> None:
    assert refused(raw, "FP32", [1] * 33, bytes(4)) == "inputs[0].shape: at most 32 axes, got 33"


@pytest.mark.parametrize(
    ("datatype", "shape", "contents", "message"),
    [
        (
            "INT64",
            [1],
            {"fp32_contents": [1]},
            "inputs[0].contents: INT64 elements belong in int64_contents, got fp32_contents",
        ),
        (
            "INT8",
            [1],
            {"int_contents": [1], "bool_contents": [True]},
            "inputs[0].contents: INT8 elements belong in int_contents, got bool_contents",
        ),
        (
            "FP32",
            [2],
            {"fp32_contents": [1]},
            "inputs[0].contents.fp32_contents: expected 2 elements for shape [2], got 1",
        ),
        ("FP32", [2], {}, "inputs[0].contents.fp32_contents: expected 2 elements for shape [2], got 0"),
        ("FP16", [1], {}, "inputs[0].contents: FP16 has no typed contents; send it as raw_input_contents"),
        ("BF16", [1], {"fp32_contents": [1]}, "inputs[0].contents: BF16 has no typed contents"),
        ("FLOAT", [1], {"fp32_contents": [1]}, "inputs[0].datatype: expected one of"),
        (
            "INT8",
            [2],
            {"int_contents": [1, 128]},
            "inputs[0].contents.int_contents[1]: INT8 holds -128 to 127, got 128",
        ),
        ("INT16", [1], {"int_contents": [-32769]}, "inputs[0].contents.int_contents[0]: INT16 holds -32768 to 32767"),
        ("UINT8", [1], {"uint_contents": [256]}, "inputs[0].contents.uint_contents[0]: UINT8 holds 0 to 255, got 256"),
        ("UINT16", [1], {"uint_contents": [65536]}, "inputs[0].contents.uint_contents[0]: UINT16 holds 0 to 65535"),
    ],
)
def test_typed_elements_that_do_not_fit_are_refused(
    datatype: str, shape: list[int], contents: dict[str, Any], message: str
) -> None:
    assert refused(typed, datatype, shape, **contents).startswith(message)


def test_raw_and_typed_contents_do_not_mix() -> None:
    one = Input(name="x", datatype="FP32", shape=[1], contents=pb.InferTensorContents(fp32_contents=[1]))
    two = Input(name="y", datatype="FP32", shape=[1])
    request = pb.ModelInferRequest(inputs=[two, one], raw_input_contents=[bytes(4)])
    assert refused(decode_inputs, request) == "inputs[1].contents: must be unset, since raw_input_contents is used"


@pytest.mark.parametrize("entries", [1, 3])
def test_raw_contents_come_one_for_each_input(entries: int) -> None:
    inputs = [Input(name=name, datatype="FP32", shape=[1]) for name in "xy"]
    request = pb.ModelInferRequest(inputs=inputs, raw_input_contents=[bytes(4)] * entries)
    assert (
        refused(decode_inputs, request) == f"raw_input_contents: expected one entry for each of 2 inputs, got {entries}"
    )


@given(
    st.sampled_from([*DTYPES, "BF16", "BYTES"]),
    st.lists(st.integers(-2, 5) | st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.binary(max_size=40),
)
def test_any_input_gives_an_array_or_an_invalid_input(datatype: str, shape: list[int], data: bytes) -> None:
    named = ("inputs[0].shape", "raw_input_contents[0]")
    try:
        fits = raw(datatype, shape, data).shape == tuple(shape)
    except InvalidInput as error:
        fits = error.field in named
    assert fits
