"""Cells of rows as programs have them: converted, or named with their column."""

import asyncio
import datetime
import enum
import math
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.client import AsyncClient, BadInput, Client, Forecast, PredictionError
from tests.support import cli_server as fakes


@pytest.fixture
def zoo(zoo: Any) -> Any:
    fakes.add_structured(zoo)
    return zoo


class Colour(enum.Enum):
    RED = "red"


CELLS = {
    "area": (70, 70),
    "decimal": (Decimal("12.5"), 12.5),
    "decimal_that_no_double_is": (Decimal("0.1"), "0.1"),
    "long_decimal": (Decimal("12345678901234567890.5"), "12345678901234567890.5"),
    "date": (datetime.date(2024, 1, 31), "2024-01-31"),
    "datetime": (datetime.datetime(2024, 1, 31, 12, tzinfo=datetime.UTC), "2024-01-31T12:00:00+00:00"),
    "time": (datetime.time(8, 30), "08:30:00"),
    "duration": (datetime.timedelta(days=1, hours=2), "1 day, 2:00:00"),
    "numpy_float": (np.float32(1.5), 1.5),
    "numpy_half": (np.float16(1.5), 1.5),
    "numpy_long": (np.longdouble(1.5), 1.5),
    "numpy_int": (np.int64(3), 3),
    "numpy_bool": (np.True_, True),
    "numpy_text": (np.str_("Köln"), "Köln"),
    "numpy_bytes": (np.bytes_(b"Bonn"), "Bonn"),
    "numpy_date": (np.datetime64("2024-01-31"), "2024-01-31"),
    "numpy_moment": (np.datetime64("2024-01-31T12:00:00.000000000"), "2024-01-31T12:00:00.000000000"),
    "numpy_no_time": (np.datetime64("NaT"), None),
    "numpy_duration": (np.timedelta64(90, "m"), "1:30:00"),
    "scalar_array": (np.array(7), 7),
    "large": (2**60 + 1, str(2**60 + 1)),
    "huge": (10**400, str(10**400)),
    "beyond_digits": (-(10**5000), -math.inf),
    "huge_fraction": (Fraction(10**400, 3), math.inf),
    "huge_decimal": (Decimal("1e400"), "1E+400"),
    "bool": (True, True),
    "none": (None, None),
    "path": (Path("a/b.jpg"), "a/b.jpg"),
    "bytes": ("Ü".encode(), "Ü"),
    "enum": (Colour.RED, "red"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "fraction": (Fraction(1, 4), 0.25),
    "pandas_moment": (pd.Timestamp("2024-01-31 12:00"), "2024-01-31T12:00:00"),
    "pandas_missing": (pd.NA, None),
    "pandas_no_time": (pd.NaT, None),
}


def test_cells_of_common_types_are_converted(zoo: Any, client: Client) -> None:
    client.predict("flats", {name: value for name, (value, _) in CELLS.items()})
    [row] = zoo.calls["Predict"][-1].instances
    assert dict(row.row) == {name: expected for name, (_, expected) in CELLS.items()}


def test_the_asyncio_client_converts_the_same(zoo: Any) -> None:
    async def ask() -> None:
        async with AsyncClient(zoo.target) as asyncio_client:
            await asyncio_client.predict("flats", {name: value for name, (value, _) in CELLS.items()})

    asyncio.run(ask())
    [row] = zoo.calls["Predict"][-1].instances
    assert dict(row.row) == {name: expected for name, (_, expected) in CELLS.items()}


def test_a_row_of_a_data_frame_is_taken_as_it_comes(zoo: Any, client: Client) -> None:
    frame = pd.DataFrame({"area": [70, 80], "since": pd.to_datetime(["2024-01-31", None]), "town": ["Bonn", None]})
    client.predict("flats", frame.to_dict("records"))
    first, second = zoo.calls["Predict"][-1].instances
    assert dict(first.row) == {"area": 70, "since": "2024-01-31T00:00:00", "town": "Bonn"}
    assert second.row["since"] is None


@pytest.mark.parametrize(
    ("value", "kind"), [([1, 2], "list"), ({"a": 1}, "dict"), ({1}, "set"), (1j, "complex"), (object(), "object")]
)
def test_what_is_no_cell_is_named_with_its_column(client: Client, value: object, kind: str) -> None:
    with pytest.raises(BadInput) as caught:
        client.predict("flats", {"area": 70, "town": value})
    assert str(caught.value) == f"column 'town' holds a {kind}; a number, text, truth value or None was expected"


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), math.nan, np.float32("nan")])
def test_a_cell_that_is_no_number_is_nan_in_whatever_type(zoo: Any, client: Client, value: object) -> None:
    client.predict("flats", {"area": value})
    [row] = zoo.calls["Predict"][-1].instances
    assert math.isnan(row.row["area"])


@pytest.mark.parametrize("names", [("Preis", " Preis"), ("Preis\t", "Preis"), ("Caf\u00e9", "Cafe\u0301")])
def test_two_columns_of_one_name_are_both_named(client: Client, names: tuple[str, str]) -> None:
    with pytest.raises(BadInput) as caught:
        client.predict("flats", dict.fromkeys(names, 1))
    assert str(caught.value) == f"the columns {names[0]!r} and {names[1]!r} have the same name; a row has each once"


def test_bytes_that_are_no_text_are_named_with_their_column(client: Client) -> None:
    with pytest.raises(BadInput, match="column 'town' holds bytes that are not UTF-8 text"):
        client.predict("flats", {"area": 70, "town": b"\xff"})


def test_a_bad_cell_on_a_stream_fails_alone(zoo: Any, client: Client) -> None:
    outcomes = list(client.stream_predict("flats", [{"area": 1}, {"area": [1]}, {"area": Decimal(3)}]))
    assert [isinstance(outcome, PredictionError) for outcome in outcomes] == [False, True, False]


def test_a_record_may_have_its_cells_beside_its_picture(zoo: Any, client: Client) -> None:
    client.predict("homes", {"image": b"jpeg", "area": Decimal(70), "since": datetime.date(2024, 1, 31)})
    client.predict("homes", {"image": b"jpeg", "row": {"area": Decimal(70), "since": datetime.date(2024, 1, 31)}})
    for request in zoo.calls["Predict"][-2:]:
        [instance] = request.instances
        assert dict(instance.record.parts["row"].row) == {"area": 70, "since": "2024-01-31"}


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1"), 2, np.float32(3)],
        np.array([Decimal("1"), 2, 3.0], dtype=object),
        [Fraction(1), True + 1, 3],
        pd.Series([1, 2, 3]).to_numpy(),
    ],
)
def test_numbers_of_mixed_types_are_one_series(zoo: Any, client: Client, values: Any) -> None:
    [answer] = client.predict("sales", values)
    assert isinstance(answer, Forecast)
    assert list(zoo.calls["Predict"][-1].instances[0].series.values) == [1, 2, 3]


def test_gaps_of_a_series_travel_as_gaps(zoo: Any, client: Client) -> None:
    client.predict("sales", [1, None, pd.NA, 3])
    values = list(zoo.calls["Predict"][-1].instances[0].series.values)
    assert [math.isnan(value) for value in values] == [False, True, True, False]


def test_a_series_that_holds_something_else_is_refused(client: Client) -> None:
    with pytest.raises(BadInput, match="a series holds something else than numbers"):
        client.predict("sales", [[1, "x", 3]])


def test_tensors_of_objects_are_numbers_or_name_what_is_none(zoo: Any, client: Client) -> None:
    client.predict("efficientnet_lite0", {"pixel_values": np.array([Decimal(1), 2, None], dtype=object)})
    tensor = zoo.calls["Predict"][-1].instances[0].tensors.tensors["pixel_values"]
    assert (tensor.datatype, list(tensor.shape)) == ("FP64", [3])
    with pytest.raises(BadInput, match=r"tensor 'pixel_values' holds a str at \[1, 0\]; a number was expected"):
        client.predict("efficientnet_lite0", {"pixel_values": np.array([[1, 2], ["x", 4]], dtype=object)})
