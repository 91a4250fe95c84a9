"""Cells of rows: values of Python and of common libraries are converted, or rejected with their column."""

import asyncio
import datetime
import enum
import math
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from service.client import AsyncClient, BadInput, Client, PredictionError
from tests.support.fake_zoo.server import FakeZoo


class Colour(enum.Enum):
    RED = "red"


CELLS = {
    "area": (70, 70),
    "decimal": (Decimal("12.5"), 12.5),
    "inexact_decimal": (Decimal("0.1"), "0.1"),
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
    "numpy_time": (np.datetime64("2024-01-31T12:00:00.000000000"), "2024-01-31T12:00:00.000000000"),
    "numpy_missing_time": (np.datetime64("NaT"), None),
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
    "pandas_time": (pd.Timestamp("2024-01-31 12:00"), "2024-01-31T12:00:00"),
    "pandas_missing": (pd.NA, None),
    "pandas_missing_time": (pd.NaT, None),
}


def test_cells_of_common_types_are_converted(zoo: FakeZoo, client: Client) -> None:
    client.predict("flats", {name: value for name, (value, _) in CELLS.items()})
    [row] = zoo.calls["Predict"][-1].instances
    assert dict(row.row) == {name: expected for name, (_, expected) in CELLS.items()}


def test_async_client_converts_cells_of_common_types(zoo: FakeZoo) -> None:
    async def predict() -> None:
        async with AsyncClient(zoo.target) as asyncio_client:
            await asyncio_client.predict("flats", {name: value for name, (value, _) in CELLS.items()})

    asyncio.run(predict())
    [row] = zoo.calls["Predict"][-1].instances
    assert dict(row.row) == {name: expected for name, (_, expected) in CELLS.items()}


def test_row_of_a_data_frame_is_accepted_unchanged(zoo: FakeZoo, client: Client) -> None:
    frame = pd.DataFrame({"area": [70, 80], "since": pd.to_datetime(["2024-01-31", None]), "town": ["Bonn", None]})
    client.predict("flats", frame.to_dict("records"))
    first, second = zoo.calls["Predict"][-1].instances
    assert dict(first.row) == {"area": 70, "since": "2024-01-31T00:00:00", "town": "Bonn"}
    assert second.row["since"] is None


@pytest.mark.parametrize(
    ("value", "kind"), [([1, 2], "list"), ({"a": 1}, "dict"), ({1}, "set"), (1j, "complex"), (object(), "object")]
)
def test_value_of_unsupported_type_is_rejected_with_its_column(client: Client, value: object, kind: str) -> None:
    with pytest.raises(BadInput) as caught:
        client.predict("flats", {"area": 70, "town": value})
    assert str(caught.value) == f"column 'town' holds a {kind}; a number, text, truth value or None was expected"


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), math.nan, np.float32("nan")])
def test_nan_of_any_numeric_type_is_sent_as_nan(zoo: FakeZoo, client: Client, value: object) -> None:
    client.predict("flats", {"area": value})
    [row] = zoo.calls["Predict"][-1].instances
    assert math.isnan(row.row["area"])


def test_bytes_that_are_not_utf8_are_rejected_with_their_column(client: Client) -> None:
    with pytest.raises(BadInput, match="column 'town' holds bytes that are not UTF-8 text"):
        client.predict("flats", {"area": 70, "town": b"\xff"})


def test_bad_cell_on_a_stream_fails_its_own_input_only(zoo: FakeZoo, client: Client) -> None:
    outcomes = list(client.stream_predict("flats", [{"area": 1}, {"area": [1]}, {"area": Decimal(3)}]))
    assert [isinstance(outcome, PredictionError) for outcome in outcomes] == [False, True, False]
