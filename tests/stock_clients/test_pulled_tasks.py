"""Triton's client calls a pulled network of each task by raw input and by tensors, and both have the same answer."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.stock_clients.triton_calls import inputs, refused
from tests.support.end_to_end.server_process import REPOSITORY, ServerProcess, environment

TASKS = (
    "image_classification",
    "image_feature_extraction",
    "object_detection",
    "image_segmentation",
    "text_classification",
    "pair_classification",
    "multi_label_classification",
    "token_classification",
    "feature_extraction",
    "fill_mask",
    "text_ranking",
    "zero_shot_classification",
    "text_generation",
    "text2text_generation",
    "audio_classification",
    "automatic_speech_recognition",
)
PULLS_S = 400.0
TENSOR = re.compile(r"(\w+) \w+ \[([-\d, ]+)\]")
SHARP = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a pulled network for each task, made in Zoo's own environment."""
    folder = tmp_path_factory.mktemp("tasks") / "home"
    folder.mkdir()
    python = REPOSITORY / ".venv" / "bin" / "python"
    command = [str(python), "-m", "tests.support.references.every_task", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, env=environment(ZOO_HOME=str(folder)), check=True, timeout=PULLS_S)
    return folder


@pytest.fixture(scope="module")
def pulled(home: Path) -> Iterator[triton.InferenceServerClient]:
    models = [part for task in TASKS for part in ("--model", task)]
    with (
        ServerProcess(*models, ZOO_HOME=str(home)) as process,
        triton.InferenceServerClient(process.ready().target) as client,
    ):
        yield client
    process.assert_log_is_clean()


def call_of(home: Path, task: str) -> tuple[dict[str, list[bytes]], dict[str, np.ndarray]]:
    """The raw input, and the tensors of the same input."""
    with np.load(home / "calls" / f"{task}.npz") as stored:
        raw = {key.removeprefix("raw:"): [stored[key].tobytes()] for key in stored if key.startswith("raw:")}
        return raw, {key: stored[key] for key in stored if not key.startswith("raw:")}


def answered(client: triton.InferenceServerClient, task: str, given: list[triton.InferInput]) -> dict[str, np.ndarray]:
    result = client.infer(task, given)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


@pytest.mark.parametrize("task", TASKS)
def test_raw_input_and_its_tensors_have_one_answer(pulled: triton.InferenceServerClient, home: Path, task: str) -> None:
    raw, tensors = call_of(home, task)
    by_raw = answered(pulled, task, inputs(**raw))
    by_tensors = answered(pulled, task, inputs(**tensors))
    assert by_raw.keys() == by_tensors.keys() != set()
    for name, values in by_raw.items():
        np.testing.assert_allclose(by_tensors[name], values, **SHARP, err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_metadata_describes_what_the_call_sends_and_gets(
    pulled: triton.InferenceServerClient, home: Path, task: str
) -> None:
    raw, tensors = call_of(home, task)
    described = pulled.get_model_metadata(task)
    parameters = pulled.get_model_config(task).config.parameters
    shown = [f"{one.name} {one.datatype} {list(one.shape)}" for one in described.inputs]
    other = parameters["tensor_inputs"].string_value
    assert shown[0] == f"{next(iter(raw))} BYTES [-1, 1]"
    if len(shown) < len(raw):
        assert parameters["optional_input"].string_value.startswith("text_pair BYTES [-1, 1]")
    listed = dict(TENSOR.findall(other))
    assert listed.keys() == tensors.keys()
    for name, array in tensors.items():
        sizes = [int(size) for size in listed[name].split(", ")]
        assert len(sizes) == array.ndim
        assert all(said in (-1, got) for said, got in zip(sizes, array.shape, strict=True))
    got = answered(pulled, task, inputs(**raw))
    assert got.keys() == {one.name for one in described.outputs}


@pytest.mark.parametrize("task", TASKS)
def test_unreadable_raw_input_is_refused_by_its_place(
    pulled: triton.InferenceServerClient, home: Path, task: str
) -> None:
    raw, _ = call_of(home, task)
    empty = {name: [b""] for name in raw}
    if set(raw) <= {"text", "text_pair"}:
        empty = {name: [b"\xff\xfe"] for name in raw}  # an empty text is a text
    found = refused(lambda: pulled.infer(task, inputs(**empty)))
    assert found.code == "INVALID_ARGUMENT"
    assert "inputs[0]" in found.message, found.message
