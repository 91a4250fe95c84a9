"""Rows, series and records go out as Python has them, and their answers come back typed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client import AsyncClient, BadInput, Client, Forecast, IllegalMove, PredictionError, Regression, Tensors
from tests.support import cli_server as fakes


@pytest.fixture
def zoo(zoo: Any) -> Any:
    fakes.add_structured(zoo)
    return zoo


def sent(zoo: Any) -> Any:
    return zoo.calls["Predict"][-1].instances


def test_a_dict_of_cells_is_a_row(zoo: Any, client: Client) -> None:
    cells = {"area": 70, "rooms": np.float32(3), "town": "Köln", "lift": True, "garden": None, "floor": np.int64(2)}
    [answer] = client.predict("flats", cells)
    assert isinstance(answer, Regression)
    assert (answer.value, answer.lower, answer.upper) == (70.0, 0.0, 100.0)
    [row] = sent(zoo)
    assert dict(row.row) == {"area": 70, "rooms": 3, "town": "Köln", "lift": True, "garden": None, "floor": 2}


def test_a_number_without_an_interval_has_none(client: Client) -> None:
    [answer] = client.predict("flats", {"area": 70})
    assert isinstance(answer, Regression)
    assert (answer.lower, answer.upper) == (None, None)


def test_many_rows_ride_together_and_a_bad_one_fails_alone(client: Client) -> None:
    first, bad, last = client.predict("flats", [{"area": 1}, {"bad": 1}, {"area": 3}])
    assert isinstance(first, Regression)
    assert isinstance(last, Regression)
    assert (first.value, last.value) == (1, 3)
    assert isinstance(bad, PredictionError)
    assert bad.field == "instances[1].row.bad"


def test_a_gap_in_a_row_travels_as_one(zoo: Any, client: Client) -> None:
    client.predict("flats", {"area": math.nan})
    assert math.isnan(sent(zoo)[0].row["area"])


@pytest.mark.parametrize(
    "values", [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3]), np.array([[1], [2], [3]], np.float32)]
)
def test_numbers_in_a_list_are_one_series(zoo: Any, client: Client, values: Any) -> None:
    [answer] = client.predict("sales", values)
    assert isinstance(answer, Forecast)
    assert answer.values.tolist() == [[3], [3]]
    assert answer.lower is not None
    assert answer.upper is not None
    assert (answer.lower.tolist(), answer.upper.tolist()) == ([[2], [2]], [[4], [4]])
    [series] = sent(zoo)
    assert (list(series.series.values), series.series.channels) == ([1, 2, 3], 1)


def test_lists_in_a_list_are_many_series(client: Client) -> None:
    first, second = client.predict("sales", [[1, 2, 3], [4, 5]])
    assert isinstance(first, Forecast)
    assert isinstance(second, Forecast)
    assert (first.values.tolist(), second.values.tolist()) == ([[3], [3]], [[5], [5]])
    assert second.lower is None


def test_several_channels_come_as_an_array_or_nested(client: Client) -> None:
    steps = [[7, 10], [8, 20]]
    for value in (np.array(steps), [steps]):
        [answer] = client.predict("sales", value)
        assert isinstance(answer, Forecast)
        assert answer.values.tolist() == [[8, 20], [8, 20]]


def test_an_array_is_still_a_tensor_for_a_model_that_takes_no_series(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", np.zeros(4, np.float32))
    assert isinstance(answer, Tensors)


def test_numbers_by_name_are_still_tensors_for_a_model_that_takes_no_rows(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", {"x": 3.0})
    assert isinstance(answer, Tensors)
    assert answer.tensors["x"].shape == ()


def test_tensors_by_name_go_to_a_row_model_as_they_are(client: Client) -> None:
    [answer] = client.predict("flats", {"numbers": np.zeros(2, np.float32)})
    assert isinstance(answer, Tensors)


def test_an_image_and_a_row_are_a_record(zoo: Any, client: Client, tmp_path: Path) -> None:
    photo = tmp_path / "house.jpg"
    photo.write_bytes(b"12345")
    for image in (photo, b"12345"):
        [answer] = client.predict("homes", {"image": image, "row": {"area": 70}})
        assert isinstance(answer, Regression)
        assert answer.value == 5
        parts = sent(zoo)[0].record.parts
        assert (parts["image"].image, dict(parts["row"].row)) == (b"12345", {"area": 70})


def test_a_file_of_json_is_a_row_or_a_series(zoo: Any, client: Client, tmp_path: Path) -> None:
    row, series = tmp_path / "row.json", tmp_path / "series.json"
    row.write_text(json.dumps({"area": 70, "town": "Köln"}))
    series.write_text("[1, 2, 3]")
    client.predict("flats", row)
    assert dict(sent(zoo)[0].row) == {"area": 70, "town": "Köln"}
    client.predict("sales", series.read_bytes())
    assert list(sent(zoo)[0].series.values) == [1, 2, 3]


@pytest.mark.parametrize(
    ("model", "wrong", "words"),
    [
        ("flats", b"[1, 2]", "takes an object of cells by column"),
        ("flats", b"{", "not valid JSON"),
        ("flats", b"\xff", "not valid JSON"),
        ("flats", b"[" * 100_000, "not valid JSON"),
        ("sales", b'{"a": 1}', "takes an array of numbers"),
        ("sales", b'["a"]', "something else than numbers"),
        ("sales", [[1, 2], [3]], ""),
        ("sales", [[[1, 2], [3]]], "unlike lengths"),
        ("sales", np.zeros((2, 2, 2)), r"one of \[2, 2, 2\] came"),
        ("flats", {3: 4}, "a column is called 3"),
        ("flats", {"\ud800": 4}, "surrogates"),
        ("flats", {"a": "\ud800"}, "surrogates"),
        ("flats", {"a": 1, "a ": 2}, "have the same name"),
        ("homes", b"jpeg", "an image and a row together"),
        ("homes", {"image": "house.jpg", "row": {}}, "part 'image' is of type str"),
        ("homes", {"image": b"x", "row": {"a": [1]}}, "column 'a' holds a list"),
        ("homes", {"image": Path("/nowhere/x.jpg"), "row": {}}, "no such file"),
    ],
)
def test_what_cannot_be_sent_is_told_before_any_call(
    zoo: Any, client: Client, model: str, wrong: Any, words: str
) -> None:
    if not words:
        assert len(client.predict(model, wrong)) == 2
        return
    with pytest.raises(BadInput, match=words):
        client.predict(model, wrong)
    assert not zoo.calls["Predict"]


@pytest.mark.asyncio
async def test_the_other_client_takes_the_same(zoo: Any) -> None:
    async with AsyncClient(zoo.target) as client:
        [number] = await client.predict("flats", {"area": 70})
        [ahead] = await client.predict("sales", [1, 2, 3])
    assert isinstance(number, Regression)
    assert isinstance(ahead, Forecast)


def test_rows_stream(client: Client) -> None:
    answers = list(client.stream_predict("flats", ({"area": i} for i in range(50))))
    assert [answer.value for answer in answers if isinstance(answer, Regression)] == list(range(50))


def test_a_model_that_is_damaged_is_told_to_be(zoo: Any, client: Client) -> None:
    zoo.models["flats"].ClearField("raw_input")
    zoo.models["flats"].damaged = "version 1 is damaged: card.json is missing"
    with pytest.raises(IllegalMove, match=r"'flats' does not answer: version 1 is damaged: card\.json is missing"):
        client.predict("flats", b"anything")
