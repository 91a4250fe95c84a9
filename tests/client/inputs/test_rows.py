"""Rows, series and records: Python values as messages, and their typed results."""

import datetime
import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.client import AsyncClient, BadInput, Client, Forecast, PredictionError, Regression
from tests.support.fake_zoo.server import FakeZoo


def sent(zoo: FakeZoo) -> Any:
    return zoo.calls["Predict"][-1].instances


def test_dict_of_cells_is_sent_as_a_row(zoo: FakeZoo, client: Client) -> None:
    cells = {"area": 70, "rooms": np.float32(3), "town": "Köln", "lift": True, "garden": None, "floor": np.int64(2)}
    [answer] = client.predict("flats", cells)
    assert isinstance(answer, Regression)
    assert (answer.value, answer.lower, answer.upper) == (70.0, 0.0, 100.0)
    [row] = sent(zoo)
    assert dict(row.row) == {"area": 70, "rooms": 3, "town": "Köln", "lift": True, "garden": None, "floor": 2}


def test_regression_without_an_interval_has_none(client: Client) -> None:
    [answer] = client.predict("flats", {"area": 70})
    assert isinstance(answer, Regression)
    assert (answer.lower, answer.upper) == (None, None)


def test_several_rows_are_one_request_and_a_bad_row_fails_alone(client: Client) -> None:
    first, bad, last = client.predict("flats", [{"area": 1}, {"bad": 1}, {"area": 3}])
    assert isinstance(first, Regression)
    assert isinstance(last, Regression)
    assert (first.value, last.value) == (1, 3)
    assert isinstance(bad, PredictionError)
    assert bad.field == "instances[1].row.bad"


def test_nan_cell_is_sent_as_nan(zoo: FakeZoo, client: Client) -> None:
    client.predict("flats", {"area": math.nan})
    assert math.isnan(sent(zoo)[0].row["area"])


@pytest.mark.parametrize("names", [("Preis", " Preis"), ("Preis\t", "Preis"), ("Caf\u00e9", "Cafe\u0301")])
def test_columns_with_the_same_name_are_rejected_with_both_names(client: Client, names: tuple[str, str]) -> None:
    with pytest.raises(BadInput) as caught:
        client.predict("flats", dict.fromkeys(names, 1))
    assert str(caught.value) == f"the columns {names[0]!r} and {names[1]!r} have the same name; a row has each once"


def test_rows_are_streamed(client: Client) -> None:
    answers = list(client.stream_predict("flats", ({"area": i} for i in range(50))))
    assert [answer.value for answer in answers if isinstance(answer, Regression)] == list(range(50))


@pytest.mark.parametrize(
    "values", [[1, 2, 3], (1.0, 2.0, 3.0), np.array([1, 2, 3]), np.array([[1], [2], [3]], np.float32)]
)
def test_numbers_in_a_list_or_array_are_one_series(zoo: FakeZoo, client: Client, values: Any) -> None:
    [answer] = client.predict("sales", values)
    assert isinstance(answer, Forecast)
    assert answer.values.tolist() == [[3], [3]]
    assert answer.lower is not None
    assert answer.upper is not None
    assert (answer.lower.tolist(), answer.upper.tolist()) == ([[2], [2]], [[4], [4]])
    [series] = sent(zoo)
    assert (list(series.series.values), series.series.channels) == ([1, 2, 3], 1)


def test_lists_in_a_list_are_several_series(client: Client) -> None:
    first, second = client.predict("sales", [[1, 2, 3], [4, 5]])
    assert isinstance(first, Forecast)
    assert isinstance(second, Forecast)
    assert (first.values.tolist(), second.values.tolist()) == ([[3], [3]], [[5], [5]])
    assert second.lower is None


def test_series_with_several_channels_is_an_array_or_a_nested_list(client: Client) -> None:
    steps = [[7, 10], [8, 20]]
    for value in (np.array(steps), [steps]):
        [answer] = client.predict("sales", value)
        assert isinstance(answer, Forecast)
        assert answer.values.tolist() == [[8, 20], [8, 20]]


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1"), 2, np.float32(3)],
        np.array([Decimal("1"), 2, 3.0], dtype=object),
        [Fraction(1), True + 1, 3],
        pd.Series([1, 2, 3]).to_numpy(),
    ],
)
def test_list_of_mixed_number_types_is_one_series(zoo: FakeZoo, client: Client, values: Any) -> None:
    [answer] = client.predict("sales", values)
    assert isinstance(answer, Forecast)
    assert list(zoo.calls["Predict"][-1].instances[0].series.values) == [1, 2, 3]


def test_missing_values_of_a_series_are_sent_as_nan(zoo: FakeZoo, client: Client) -> None:
    client.predict("sales", [1, None, pd.NA, 3])
    values = list(zoo.calls["Predict"][-1].instances[0].series.values)
    assert [math.isnan(value) for value in values] == [False, True, True, False]


def test_series_with_a_text_is_rejected(client: Client) -> None:
    with pytest.raises(BadInput, match="a series holds something else than numbers"):
        client.predict("sales", [[1, "x", 3]])


def test_image_with_a_row_is_sent_as_a_record(zoo: FakeZoo, client: Client, tmp_path: Path) -> None:
    photo = tmp_path / "house.jpg"
    photo.write_bytes(b"12345")
    for image in (photo, b"12345"):
        [answer] = client.predict("homes", {"image": image, "row": {"area": 70}})
        assert isinstance(answer, Regression)
        assert answer.value == 5
        parts = sent(zoo)[0].record.parts
        assert (parts["image"].image, dict(parts["row"].row)) == (b"12345", {"area": 70})


def test_record_with_cells_beside_its_image_equals_one_with_a_row(zoo: FakeZoo, client: Client) -> None:
    client.predict("homes", {"image": b"jpeg", "area": Decimal(70), "since": datetime.date(2024, 1, 31)})
    client.predict("homes", {"image": b"jpeg", "row": {"area": Decimal(70), "since": datetime.date(2024, 1, 31)}})
    for request in zoo.calls["Predict"][-2:]:
        [instance] = request.instances
        assert dict(instance.record.parts["row"].row) == {"area": 70, "since": "2024-01-31"}


def test_json_file_is_sent_as_a_row_or_a_series(zoo: FakeZoo, client: Client, tmp_path: Path) -> None:
    row, series = tmp_path / "row.json", tmp_path / "series.json"
    row.write_text(json.dumps({"area": 70, "town": "Köln"}))
    series.write_text("[1, 2, 3]")
    client.predict("flats", row)
    assert dict(sent(zoo)[0].row) == {"area": 70, "town": "Köln"}
    client.predict("sales", series.read_bytes())
    assert list(sent(zoo)[0].series.values) == [1, 2, 3]


@pytest.mark.parametrize(
    ("model", "invalid", "message"),
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
def test_invalid_row_series_or_record_is_rejected_before_any_call(
    zoo: FakeZoo, client: Client, model: str, invalid: Any, message: str
) -> None:
    if not message:
        assert len(client.predict(model, invalid)) == 2
        return
    with pytest.raises(BadInput, match=message):
        client.predict(model, invalid)
    assert not zoo.calls["Predict"]


@pytest.mark.asyncio
async def test_async_client_sends_rows_and_series(zoo: FakeZoo) -> None:
    async with AsyncClient(zoo.target) as client:
        [number] = await client.predict("flats", {"area": 70})
        [ahead] = await client.predict("sales", [1, 2, 3])
    assert isinstance(number, Regression)
    assert isinstance(ahead, Forecast)
