"""Calls to copy are programs, and hold what a model takes."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format

from service.cli.local_catalog import local_model
from service.cli.rendering.sample_calls import sample_calls
from service.cli.sample_inputs import sample_path
from service.client import ModelInfo, TableColumn, TensorSpec
from service.client.models import read_model
from service.pb import models_pb2, prediction_pb2
from service.types import DTYPES

COLUMNS = (TableColumn("area", "number"), TableColumn('town\'s "name" 100%', "category", ("Bonn", "Köln")))


def model(raw_input: str, task: str = "regression", **fields: Any) -> ModelInfo:
    info = read_model(models_pb2.Model(name="mine", task=task, raw_input=raw_input))
    known = {"inputs": (TensorSpec("x", "FP32", (-1, 3)),), "outputs": (TensorSpec("y", "FP32", (-1, 1)),)}
    values = {name: getattr(info, name) for name in info.__dataclass_fields__}
    return ModelInfo(**{**values, **known, **fields})


KINDS = {
    "image": model("image"),
    "text": model("text"),
    "generation": model("text", "text-generation"),
    "masks": model("text", "fill-mask"),
    "ranking": model("text", "text-ranking"),
    "labels": model("text", "zero-shot-classification"),
    "image with labels": model("image", "zero-shot-image-classification"),
    "image filter": model(
        "image",
        "image-to-image",
        inputs=(TensorSpec("pixels", "UINT8", (-1, -1, -1, 3)), TensorSpec("kernel", "FP32", (-1, 2, 3, 3))),
    ),
    "audio": model("audio"),
    "row": model("row", columns=COLUMNS),
    "row of unknown columns": model("row"),
    "record": model("record", columns=COLUMNS),
    "series": model("series", inputs=(TensorSpec("context", "FP32", (-1, 24, 1)),)),
    "series of two channels": model("series", inputs=(TensorSpec("context", "FP32", (-1, 3, 2)),)),
    "tensors": model("", inputs=(TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("mask", "BOOL", (-1, -1)))),
    "large tensors": model(
        "", inputs=(TensorSpec('a "pixel"', "FP32", (-1, 3, 64, 64)), TensorSpec("n", "INT64", (-1,)))
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_programs_are_valid(kind: str) -> None:
    calls = sample_calls(KINDS[kind], "127.0.0.1:8001")
    for name in ("python", "tritonclient"):
        ast.parse(calls[name])
    assert calls["cli"].splitlines()[-1].startswith("zoo predict mine ")


@pytest.mark.parametrize("kind", KINDS)
def test_grpcurl_gets_a_request_of_the_protocol(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's part of the line runs for real; grpcurl reads the request as JSON of protobuf."""
    monkeypatch.chdir(tmp_path)
    line, pipe, call = sample_calls(KINDS[kind], "127.0.0.1:8001")["grpcurl"].rpartition(" | ")
    assert (pipe, call) == (" | ", "grpcurl -plaintext -d @ 127.0.0.1:8001 zoo.v1.Prediction/Predict")
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    request = json_format.ParseDict(json.loads(done.stdout), prediction_pb2.PredictRequest())
    [instance] = request.instances
    assert instance.WhichOneof("kind") == ("ranking" if kind == "ranking" else KINDS[kind].raw_input or "tensors")
    if KINDS[kind].raw_input in ("image", "audio"):
        assert getattr(instance, KINDS[kind].raw_input) == Path(sample_path(KINDS[kind].raw_input)).read_bytes()
    for tensor in KINDS[kind].inputs if not KINDS[kind].raw_input else ():
        sent = instance.tensors.tensors[tensor.name]
        assert (sent.datatype, tuple(sent.shape[1:])) == (tensor.datatype, tuple(max(n, 1) for n in tensor.shape[2:]))
        assert (np.frombuffer(sent.data, DTYPES[tensor.datatype]) == 1).all()
    if kind == "image with labels":
        assert request.options.candidate_labels == ["cat", "dog"]
    if kind == "record":
        assert instance.record.parts["image"].image == Path(sample_path("image")).read_bytes()
        assert set(instance.record.parts["row"].row) == {column.name for column in COLUMNS}
    if kind == "row":
        assert dict(instance.row) == {"area": 1.0, COLUMNS[1].name: "Bonn"}
    if kind == "series of two channels":
        assert (len(instance.series.values), instance.series.channels) == (6, 2)
    if kind == "generation":
        assert request.options.max_new_tokens == 20


def test_other_server_is_in_every_call() -> None:
    for server, words in (("zoo.example:9", "zoo.example:9"), ("unix:/run/zoo.sock", "/run/zoo.sock")):
        calls = sample_calls(KINDS["text"], server)
        assert all(words in text for text in calls.values())
    assert "-unix /run/zoo.sock" in calls["grpcurl"]


def test_tls_is_in_the_calls_that_do_not_read_the_environment() -> None:
    calls = sample_calls(KINDS["text"], "zoo.example:9", tls=True)
    assert "-plaintext" not in calls["grpcurl"]
    assert "ssl=True" in calls["tritonclient"]


def test_models_of_two_texts_get_both() -> None:
    ranking, labels = (sample_calls(KINDS[kind], "127.0.0.1:8001") for kind in ("ranking", "labels"))
    assert ranking["cli"] == "zoo predict mine --query 'a question' 'any sentence'"
    assert labels["cli"] == "zoo predict mine 'any sentence' --label sports --label weather"
    assert "{'query': 'a question', 'documents': ['any sentence']}" in ranking["python"]
    assert "candidate_labels=['sports', 'weather']" in labels["python"]
    assert all("'text_pair'" in calls["tritonclient"] for calls in (ranking, labels))
    assert "[MASK]" in sample_calls(KINDS["masks"], "127.0.0.1:8001")["cli"]


def test_images_with_labels_get_both() -> None:
    calls = sample_calls(KINDS["image with labels"], "127.0.0.1:8001")
    photo = sample_path("image")
    assert calls["cli"] == f"zoo predict mine {photo} --label cat --label dog"
    assert f"[Path({photo!r})], candidate_labels=['cat', 'dog'])" in calls["python"]
    assert "triton.InferInput('text', [1, 2], 'BYTES')" in calls["tritonclient"]
    assert "This is a photo of dog." in calls["tritonclient"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].raw_input not in ("image", "audio", "text")])
def test_command_gives_a_document_that_exists_or_that_a_first_line_makes(kind: str, tmp_path: Path) -> None:
    *lines, call = sample_calls(KINDS[kind], "127.0.0.1:8001")["cli"].splitlines()
    for line in lines:
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=60)
    given = shlex.split(call)[3]
    document = json.loads((tmp_path / given).read_text() if lines else given)
    if not KINDS[kind].raw_input:
        assert {name: np.ones_like(array).shape for name, array in document.items()} == {
            tensor.name: tuple(max(size, 1) for size in tensor.shape[1:]) for tensor in KINDS[kind].inputs
        }
    if kind == "series of two channels":
        assert document == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


def test_programs_for_tritons_client_import_what_they_use() -> None:
    for kind in KINDS:
        program = ast.parse(sample_calls(KINDS[kind], "127.0.0.1:8001")["tritonclient"])
        imported = {
            name.asname or name.name
            for node in ast.walk(program)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        }
        assigned = {
            node.id for node in ast.walk(program) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        used = {node.id for node in ast.walk(program) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        assert used <= imported | assigned | {"print", "object", "range", "float"}, kind


def test_sample_of_the_card_is_in_every_call() -> None:
    for name, words in (("protein_roberta", "<mask>"), ("house_linear", "living_area"), ("fashion_cnn", "boot.png")):
        found = local_model(name)
        for text in sample_calls(found, "127.0.0.1:8001", sample=found.sample).values():
            assert words in text


def test_text_that_the_server_names_is_in_every_call() -> None:
    """This machine has no card of the model, which has a mask of its own."""
    served = model("text", "fill-mask", sample_text="any <mask> sentence")
    for text in sample_calls(served, "127.0.0.1:8001").values():
        assert "<mask>" in text
        assert "[MASK]" not in text


def test_call_of_an_image_filter_names_a_kernel() -> None:
    calls = sample_calls(KINDS["image filter"], "127.0.0.1:8001")
    assert calls["cli"] == f"zoo predict mine {sample_path('image')} --kernel sharpen"
    assert "kernel='sharpen'" in calls["python"]
    assert '"kernel": "sharpen"' in calls["grpcurl"]
    assert "parameters={'kernel': 'sharpen'}" in calls["tritonclient"]
