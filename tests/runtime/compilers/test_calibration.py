"""Calibration inputs reach the worker as they are."""

from pathlib import Path

import numpy as np
import pytest

from service.runtime.compilers.calibration import digest_of, read, write

BATCHES = [
    {"input_ids": np.array([[1, 2, 3]]), "mask": np.ones((1, 3), np.int64)},
    *({"input_ids": np.array([[n]]), "mask": np.ones((1, 1), np.int64)} for n in range(11)),
]


def test_batches_are_read_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, BATCHES)
    found = read(tmp_path)
    assert len(found) == len(BATCHES)
    for batch, expected in zip(found, BATCHES, strict=True):
        assert sorted(batch) == sorted(expected)
        for name, array in batch.items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(array, expected[name])


def test_array_with_strides_is_written_in_its_order(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    write(tmp_path, [{"image": image.transpose(0, 3, 1, 2)}])
    np.testing.assert_array_equal(read(tmp_path)[0]["image"], image.transpose(0, 3, 1, 2))
    assert digest_of([{"image": image.transpose(0, 3, 1, 2)}]) == digest_of(read(tmp_path))


@pytest.mark.parametrize(
    "other",
    [
        BATCHES[1:],
        BATCHES[::-1],
        [{**BATCHES[0], "input_ids": np.array([[1, 2, 4]])}, *BATCHES[1:]],
        [{**BATCHES[0], "input_ids": np.array([[1], [2], [3]])}, *BATCHES[1:]],
        [{**BATCHES[0], "input_ids": np.array([[1, 2, 3]], np.int32)}, *BATCHES[1:]],
    ],
    ids=["fewer", "another order", "another number", "another shape", "another type"],
)
def test_digest_differs_for_other_batches(other: list[dict[str, np.ndarray]]) -> None:
    assert digest_of(BATCHES) == digest_of([dict(reversed(batch.items())) for batch in BATCHES])
    assert digest_of(other) != digest_of(BATCHES)
