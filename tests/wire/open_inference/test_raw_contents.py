"""Tensors leave a message uncopied, and nothing else about it changes."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from service.pb import open_inference_pb2 as pb
from service.wire.open_inference.raw_contents import MOST_FIELDS, WORTH_IT, read
from service.wire.open_inference.tensors import decode_inputs

BIG = bytes(WORTH_IT)


def message(*raws: bytes) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="m", model_version="1", id="seven", raw_input_contents=raws)
    for raw in raws:
        made.inputs.add(name="x", datatype="UINT8", shape=[len(raw)])
    made.parameters["priority"].int64_param = 3
    made.outputs.add(name="y")
    return made


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.text(max_size=300),
    st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1), max_size=4),
)
def test_split_message_has_the_same_contents(raws: list[bytes], name: str, shape: list[int]) -> None:
    made = message(BIG, *raws)
    made.inputs.add(name=name, datatype="FP32", shape=shape)
    taken = read(made.SerializeToString())
    assert [bytes(raw) for raw in taken.raws] == list(made.raw_input_contents)
    del made.raw_input_contents[:]
    assert taken.message == made


def test_large_tensors_are_views_of_the_received_bytes() -> None:
    values = np.arange(WORTH_IT, dtype=np.float32)
    made = pb.ModelInferRequest(raw_input_contents=[values.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    data = made.SerializeToString()
    taken = read(data)
    (array,) = decode_inputs(taken.message, taken.raws)
    assert np.array_equal(array[0], values)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def test_small_message_is_parsed_by_protobuf() -> None:
    taken = read(message(b"abc").SerializeToString())
    assert list(taken.raws) == [b"abc"]
    assert taken.message.id == "seven"


def test_fields_of_a_later_release_are_skipped() -> None:
    unknown = (
        b"\xa0\x06\x01" + b"\xa5\x06abcd" + b"\xa1\x06abcdefgh" + b"\xa2\x06\x02hi"
    )  # 100: varint, 4, 8 bytes, text
    taken = read(unknown + message(BIG).SerializeToString())
    assert [bytes(raw) for raw in taken.raws] == [BIG]
    assert taken.message.model_name == "m"


def test_message_of_very_many_fields_is_parsed_by_protobuf() -> None:
    made = message(*[BIG[:20]] * (MOST_FIELDS + 1))
    taken = read(made.SerializeToString())
    assert list(taken.raws) == list(made.raw_input_contents)


@pytest.mark.parametrize(
    "cut_off",
    [
        message(BIG).SerializeToString()[:-20],
        BIG + b"\x3a",
        b"\x3a" + b"\xff" * (WORTH_IT + 10),
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + BIG,
        b"\x3b" * WORTH_IT,
        b"\x0a\x02\xff\xfe" + b"\x3a\x80\x80\x01" + BIG,
    ],
    ids=["truncated", "no length", "a number without end", "longer than any", "groups", "a name that is no text"],
)
def test_bytes_that_are_no_message_are_refused(cut_off: bytes) -> None:
    with pytest.raises(DecodeError):
        read(cut_off)
