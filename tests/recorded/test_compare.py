"""What counts as a difference between two recordings, and that a recording is read as it was written."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recorded.compare import compare, with_words_of
from tests.recorded.normal import tensor, words
from tests.recorded.player import CLOSE, EXACT, TRAINED
from tests.recorded.record import read, write


def call(floats: str = EXACT, **more: Any) -> dict[str, Any]:
    values = tensor("FP32", np.linspace(0, 1, 40, dtype="<f4").tobytes())
    return {
        "kind": "call",
        "name": "group/one",
        "floats": floats,
        "code": "OK",
        "replies": [{"score": 0.5, "values": values, "note": words("a sentence about 3 things")}],
        **more,
    }


def changed(record: dict[str, Any], **fields: Any) -> dict[str, Any]:
    made = copy.deepcopy(record)
    made["replies"][0].update(fields)
    return made


def test_equal_recordings_have_no_differences() -> None:
    assert not compare([call()], [call()])


def test_a_sentence_that_differs_is_wording() -> None:
    [found] = compare([call()], [changed(call(), note=words("another sentence"))])
    assert found.wording
    assert found.path == ".replies[0].note"


@pytest.mark.parametrize(
    "other", [call(code="NOT_FOUND"), changed(call(), score=0.6), changed(call(), more=1), call(trailers=["x"])]
)
def test_a_value_or_a_field_that_differs_is_substance(other: dict[str, Any]) -> None:
    [found] = compare([call()], [other])
    assert not found.wording


def test_missing_and_additional_records_are_substance() -> None:
    other = call() | {"name": "group/two"}
    assert [d.wording for d in compare([call()], [other])] == [False, False]


def test_another_order_of_records_is_substance() -> None:
    other = call() | {"name": "group/two"}
    [found] = compare([call(), other], [other, call()])
    assert found.record == "order of records"


def test_near_floats_differ_unless_nearness_is_enough() -> None:
    near = changed(call(), score=0.50001, values=tensor("FP32", np.linspace(0, 1.00001, 40, dtype="<f4").tobytes()))
    assert len(compare([call()], [near])) == 2
    assert not compare([call()], [near], tolerant=True)
    assert not compare([call(CLOSE)], [near | {"floats": CLOSE}])


def test_far_floats_of_a_trained_model_differ_only_where_bits_are_compared() -> None:
    far = changed(call(TRAINED), score=0.9)
    assert len(compare([call(TRAINED)], [far])) == 1
    assert not compare([call(TRAINED)], [far], tolerant=True)
    assert compare([call()], [changed(call(), score=0.9)], tolerant=True)


def test_numbers_in_sentences_do_not_count_where_nearness_is_enough() -> None:
    other = changed(call(), note=words("a sentence about 4 things"))
    assert compare([call()], [other])
    assert not compare([call()], [other], tolerant=True)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    records = [call() | {"name": f"group/{i}"} for i in range(3)]
    write(records, tmp_path / "recording.jsonl")
    assert read(tmp_path / "recording.jsonl") == records
    assert len((tmp_path / "recording.jsonl").read_text()) < len(str(records)), "large values are written once"


def test_sentences_are_taken_over_and_nothing_else() -> None:
    other = changed(call(code="NOT_FOUND"), note=words("another sentence"), score=0.9)
    made = with_words_of(call(), other)
    assert made == changed(call(), note=words("another sentence"))


def test_weights_of_a_trained_model_differ_only_where_bits_are_compared() -> None:
    was, now = changed(call(), weights_sha256="a" * 64), changed(call(), weights_sha256="b" * 64)
    assert len(compare([was], [now])) == 1
    assert not compare([was], [now], tolerant=True)
    assert compare([was], [changed(call(), weights_sha256="")], tolerant=True), "of another length"
