"""Arrays as tensors and back."""

from decimal import Decimal

import numpy as np
import pytest

from service.client import BadInput, Client, Tensors
from tests.support.fake_zoo.server import FakeZoo


def test_object_array_is_sent_as_numbers_or_rejected_with_the_bad_element(zoo: FakeZoo, client: Client) -> None:
    client.predict("efficientnet_lite0", {"pixel_values": np.array([Decimal(1), 2, None], dtype=object)})
    tensor = zoo.calls["Predict"][-1].instances[0].tensors.tensors["pixel_values"]
    assert (tensor.datatype, list(tensor.shape)) == ("FP64", [3])
    with pytest.raises(BadInput, match=r"tensor 'pixel_values' holds a str at \[1, 0\]; a number was expected"):
        client.predict("efficientnet_lite0", {"pixel_values": np.array([[1, 2], ["x", 4]], dtype=object)})


@pytest.mark.parametrize("dtype", ["?", "i1", "<i2", ">i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", ">f8"])
def test_tensor_of_any_numeric_dtype_makes_the_round_trip(client: Client, dtype: str) -> None:
    array = np.arange(6).astype(dtype).reshape(2, 3)
    [answer] = client.predict("efficientnet_lite0", [{"x": array.T}])
    assert isinstance(answer, Tensors)
    np.testing.assert_array_equal(answer.tensors["x"], array.T)
