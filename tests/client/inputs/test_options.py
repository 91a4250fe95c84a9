"""Options of a prediction."""

from typing import Any

import numpy as np
import pytest

from service.client.errors import BadInput
from service.client.inputs.options import PredictOptions


def test_zero_options_are_sent_and_omitted_options_are_not() -> None:
    given = PredictOptions(max_new_tokens=5, temperature=0.0, seed=0).message()
    assert given.HasField("temperature")
    assert given.HasField("seed")
    assert (given.max_new_tokens, given.temperature, given.seed) == (5, 0.0, 0)
    omitted = PredictOptions().message()
    assert not any(omitted.HasField(name) for name in ("max_new_tokens", "temperature", "seed"))


@pytest.mark.parametrize("kernel", [[0, -1, 0, -1, 5, -1, 0, -1, 0], np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])])
def test_kernel_of_numbers_is_sent_row_by_row(kernel: Any) -> None:
    made = PredictOptions(kernel=kernel, kernel_scale=0.5, kernel_offset=0.0).message()
    assert [float(number) for number in made.kernel.split(",")] == [0, -1, 0, -1, 5, -1, 0, -1, 0]
    assert (made.kernel_scale, made.HasField("kernel_offset")) == (0.5, True)


def test_kernel_of_a_name_is_sent_as_it_is_and_none_is_not() -> None:
    assert PredictOptions(kernel="blur").message().kernel == "blur"
    assert not PredictOptions().message().HasField("kernel")


@pytest.mark.parametrize("kernel", [[[1, 2], [3]], ["a", "b"], {"a": 1}])
def test_kernel_that_is_no_array_of_numbers_is_refused(kernel: Any) -> None:
    with pytest.raises(BadInput, match="kernel is no array of numbers"):
        PredictOptions(kernel=kernel).message()
