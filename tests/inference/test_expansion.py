"""Instances that make several rows are counted by their rows, and answered in their place."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from service.engine.loaded_model import LoadedModel
from service.errors import InternalError, InvalidInput
from service.inference.expansion import MOST_ROWS, expanded, joined
from service.types import (
    Classification,
    ImageInstance,
    InferRequest,
    Instance,
    Label,
    LabelledImageInstance,
    Options,
    Prediction,
    RankingInstance,
    Tensors,
    TextInstance,
    TextPairInstance,
)


class FakeTask:
    """Expands rankings, and gives images a text; the answer of joined rows is a label with their sum."""

    expands = True

    def expand(self, instance: Instance, options: Options, path: str) -> Sequence[Instance] | Instance | None:
        if isinstance(instance, ImageInstance):
            return LabelledImageInstance(instance.data, (b"cat",))
        if isinstance(instance, TextInstance):
            raise InvalidInput(path, "expected a ranking")
        if isinstance(instance, RankingInstance):
            return [TextPairInstance(instance.query, document) for document in instance.documents]
        return None

    def join(self, rows: Tensors, options: Options) -> Classification:
        if rows["y"].max() > 100:
            raise ValueError("a fault")
        return Classification((Label(0, "sum", float(rows["y"].sum())),))


MODEL = cast(LoadedModel, SimpleNamespace(task=FakeTask(), name="m", version=1))
PAIR = TextPairInstance(b"a", b"b")


def request(*instances: Instance | InvalidInput) -> InferRequest:
    return InferRequest(model="m", version="", request_id="r", instances=instances)


def ranking(count: int) -> RankingInstance:
    return RankingInstance(b"q", tuple(str(i).encode() for i in range(count)))


def prediction(value: float, **notes: Any) -> Prediction:
    return Prediction({"y": np.array([value], np.float32)}, None, notes)


def test_each_row_becomes_an_instance_under_the_path_of_its_own() -> None:
    bad = InvalidInput("instances[1]", "unreadable")
    made = expanded(MODEL, request(PAIR, bad, ranking(2), TextInstance(b"t"), PAIR))
    assert made.rows == (None, None, 2, None, None)
    pairs = [TextPairInstance(b"q", b"0"), TextPairInstance(b"q", b"1")]
    assert [*made.request.instances[:4]] == [PAIR, bad, *pairs]
    assert isinstance(made.request.instances[4], InvalidInput)
    assert [made.request.path(i) for i in range(6)] == [f"instances[{i}]" for i in (0, 1, 2, 2, 3, 4)]


def test_rows_of_one_request_are_bounded() -> None:
    assert len(expanded(MODEL, request(*[ranking(1000)] * 4)).request.instances) == 4000
    with pytest.raises(InvalidInput) as raised:
        expanded(MODEL, request(*[ranking(1000)] * 5))
    assert (raised.value.field, f"{MOST_ROWS:,}" in raised.value.message) == ("instances", True)


def test_rows_are_joined_to_one_answer_in_its_place() -> None:
    made = expanded(MODEL, request(PAIR, ranking(2), ranking(1)))
    rows = [prediction(7.0), prediction(1.0), prediction(2.0, truncated=True, tokens=9), prediction(4.0)]
    pair, two, one = joined(MODEL, made, rows, True)
    assert pair is rows[0]
    assert isinstance(two, Prediction)
    assert isinstance(one, Prediction)
    assert two.answer == Classification((Label(0, "sum", 3.0),))
    assert two.tensors["y"].tolist() == [[1.0], [2.0]]
    assert (two.notes, one.notes) == ({"truncated": True}, {})
    without = joined(MODEL, made, rows, False)[1]
    assert isinstance(without, Prediction)
    assert without.answer is None


def test_error_of_a_row_is_that_of_its_instance_alone() -> None:
    made = expanded(MODEL, request(ranking(2), ranking(2), ranking(1)))
    error = InvalidInput("instances[0].ranking.documents[1]", "is empty")
    rows = [prediction(1.0), error, prediction(2.0), prediction(3.0), prediction(1000.0)]
    first, second, third = joined(MODEL, made, rows, True)
    assert first is error
    assert isinstance(second, Prediction)
    assert isinstance(third, InternalError), "an answer that cannot be made fails alone"


def test_instance_that_takes_the_place_of_another_is_one_row_answered_as_it_is() -> None:
    made = expanded(MODEL, request(ranking(2), ImageInstance(b"photo"), PAIR))
    assert made.rows == (2, None, None)
    assert made.request.instances[2] == LabelledImageInstance(b"photo", (b"cat",))
    assert made.request.path(2) == "instances[1]"
    own = prediction(7)
    outcomes = joined(MODEL, made, [prediction(1), prediction(2), own, prediction(3)], answers=True)
    assert outcomes[1] is own
