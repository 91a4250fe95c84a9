"""`zoo predict` reads tensors from JSON and `.npz` for a model of tensors only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from service.cli.inputs.input_source import InputSource
from service.cli.inputs.read_inputs import input_sources
from service.client.models import ModelInfo, read_model
from service.pb import models_pb2 as pb


def model(**datatypes: str) -> ModelInfo:
    inputs = [pb.TensorSignature(name=name, datatype=datatype, shape=[-1, 2]) for name, datatype in datatypes.items()]
    return read_model(pb.Model(name="mine", inputs=inputs))


ONE, TWO = model(x="FP32"), model(ids="INT64", mask="BOOL")


def read(argument: object, info: ModelInfo = ONE) -> list[InputSource]:
    return list(input_sources([str(argument)], info))


def test_object_has_a_row_of_each_input_in_its_datatype() -> None:
    [one] = read('{"ids": [1, 2], "mask": [true, false]}', TWO)
    assert {name: (array.dtype, array.tolist()) for name, array in one.value.items()} == {
        "ids": (np.int64, [1, 2]),
        "mask": (np.bool_, [True, False]),
    }


def test_array_is_the_only_input() -> None:
    [one] = read("[0.5, 1]")
    assert one.value["x"].tolist() == [0.5, 1.0]
    [refused] = read("[0.5, 1]", TWO)
    assert refused.problem == "expected an object with the inputs ids, mask"


def test_files_have_many_rows(tmp_path: Path) -> None:
    rows = [{"x": [i, i + 0.5]} for i in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n{\n")
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "row.json").write_text(json.dumps([1, 2]))
    np.savez(tmp_path / "rows.npz", x=np.array([row["x"] for row in rows], np.float64))
    for name in ("rows.json", "rows.jsonl", "rows.npz"):
        sources = read(tmp_path / name)
        assert [source.value["x"].tolist() for source in sources[:3]] == [row["x"] for row in rows]
        assert {source.value["x"].dtype for source in sources[:3]} == {np.dtype(np.float32)}
    assert read(tmp_path / "rows.jsonl")[3].problem == "is not valid JSON"
    assert read(tmp_path / "row.json")[0].value["x"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ('{"ids": [1.5, 2]}', "ids: expected numbers of equal rows, INT64"),
        ('{"ids": ["a"]}', "ids: expected numbers of equal rows, INT64"),
        ('{"ids": [[1], [2, 3]]}', "ids: expected numbers of equal rows, INT64"),
        ('{"ids": [99999999999999999999]}', "ids: expected numbers of equal rows, INT64"),
        ('{"other": null}', "other: expected numbers of equal rows"),
        ("{", "is not valid JSON"),
    ],
)
def test_values_that_make_no_tensor_are_refused(argument: str, problem: str) -> None:
    [one] = read(argument, TWO)
    assert one.problem == problem


def test_files_that_hold_no_tensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04")
    np.savez(tmp_path / "uneven.npz", x=np.zeros((2, 2)), y=np.zeros((3, 2)))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    for name, words in (
        ("photo.jpg", "expected JSON"),
        ("bad.npz", "is no .npz file"),
        ("uneven.npz", "equally many rows"),
        ("objects.npz", "is no .npz file"),
        ("none.npz", "No such file"),
    ):
        [one] = read(tmp_path / name)
        assert words.lower() in one.problem.lower(), (name, one.problem)
