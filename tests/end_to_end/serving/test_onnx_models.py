"""ONNX files that torch has exported are pulled by reference and served by the names and axes that they state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.golden.golden_case import golden_path
from service.client import Client, Tensors
from service.pb import open_inference_pb2
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, until
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, read_tensors, stubs_of, tensors
from tests.support.references.onnx_files import (
    LONGEST,
    TOKENS,
    cnn,
    cnn_file,
    mlp,
    mlp_file,
    single_row_file,
    token_file,
    token_network,
)

LABELS = ("cat", "cup", "rocket", "face", "dog")
PHOTO = golden_path("cat.jpg").read_bytes()
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((7, 3, 16, 16)).astype(np.float32)
ROWS = RANDOM.standard_normal((9, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    cnn_file(folder / "tiny_cnn.onnx")
    mlp_file(folder / "tiny_mlp.onnx")
    single_row_file(folder / "tiny_single.onnx")
    token_file(folder / "tiny_tokens.onnx")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(files: Path, home: Path) -> Iterator[ServerProcess]:
    """A server that was started with references to files. One of them needed an option, and so was pulled before."""
    pulled = run_preloaded(
        "pull", f"onnx:{files}/tiny_tokens.onnx", "--set", f"max_length={LONGEST}", ZOO_HOME=str(home)
    )
    assert pulled.returncode == 0, pulled.stderr
    assert "a batch has one row" not in pulled.stdout
    (files / "labels.txt").write_text("".join(f"{name}\n" for name in LABELS))
    stated = ("size=16", "resize_shorter=16", "interpolation=bilinear", "mean=0.5,0.5,0.5", "std=0.5,0.5,0.5")
    options = [word for one in stated for word in ("--set", one)]
    options += ["--task", "image-classification", "--labels", f"{files}/labels.txt", "--name", "tiny_photo"]
    pulled = run_preloaded("pull", f"onnx:{files}/tiny_cnn.onnx", *options, ZOO_HOME=str(home))
    assert pulled.returncode == 0, pulled.stderr
    wanted = [f"onnx:{files}/{name}.onnx" for name in ("tiny_cnn", "tiny_mlp", "tiny_single")] + [
        "tiny_tokens",
        "tiny_photo",
    ]
    with ServerProcess(*(word for name in wanted for word in ("--model", name)), ZOO_HOME=str(home)) as process:
        yield process


@pytest.fixture(scope="module")
def stubs(server: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(server.ready()) as made:
        yield made


def answers(network: torch.nn.Module, *inputs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(network(*map(torch.from_numpy, inputs)))


def test_answers_equal_those_of_torch(stubs: Stubs) -> None:
    images = outputs(stubs.infer(infer("tiny_cnn", image=IMAGES)))["logits"]
    np.testing.assert_allclose(images, answers(cnn(), IMAGES), atol=1e-4)
    rows = outputs(stubs.infer(infer("tiny_mlp", x=ROWS)))["logits"]
    np.testing.assert_allclose(rows, answers(mlp(), ROWS), atol=1e-4)


def test_classifier_of_images_takes_photos_tensors_and_pixels(stubs: Stubs) -> None:
    by_tensors = outputs(stubs.infer(infer("tiny_photo", image=IMAGES)))["logits"]
    np.testing.assert_allclose(by_tensors, answers(cnn(), IMAGES), atol=1e-4)
    pixels = RANDOM.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    normalised = np.ascontiguousarray((pixels.astype(np.float32) / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)
    by_pixels = outputs(stubs.infer(infer("tiny_photo", pixels=pixels)))["logits"]
    np.testing.assert_allclose(by_pixels, answers(cnn(), np.ascontiguousarray(normalised)), atol=1e-4)
    by_photo = outputs(stubs.infer(infer("tiny_photo", image=[PHOTO])))["logits"]
    named = stubs.predict(ask("tiny_photo", {"image": PHOTO})).predictions[0].classification.labels[0]
    assert named.name == LABELS[int(by_photo[0].argmax())]
    error = expect_error(lambda: stubs.predict(ask("tiny_photo", {"image": PHOTO[:500]})))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "instances[0]")


def test_rows_of_a_batch_equal_single_rows(stubs: Stubs) -> None:
    together = outputs(stubs.infer(infer("tiny_cnn", image=IMAGES)))["logits"]
    for i in range(len(IMAGES)):
        alone = outputs(stubs.infer(infer("tiny_cnn", image=IMAGES[i : i + 1])))["logits"]
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


def test_rows_of_a_request_to_a_network_for_one_row_are_answered_one_by_one(stubs: Stubs) -> None:
    rows = outputs(stubs.infer(infer("tiny_single", x=ROWS)))["logits"]
    np.testing.assert_allclose(rows, answers(mlp(), ROWS), atol=1e-4)


def test_rows_of_different_length_get_their_own_answers(stubs: Stubs) -> None:
    rows = [(RANDOM.integers(0, TOKENS, (1, n)), np.ones((1, n), np.int64)) for n in (1, 3, LONGEST, 3)]
    requests = [infer("tiny_tokens", input_ids=ids, attention_mask=mask) for ids, mask in rows]
    with ThreadPoolExecutor(4) as callers:
        replies = list(callers.map(stubs.infer, requests * 4))
    for i, reply in enumerate(replies):
        np.testing.assert_allclose(outputs(reply)["logits"], answers(token_network(), *rows[i % 4]), atol=1e-5)


def test_callers_at_once_get_their_own_answers(stubs: Stubs) -> None:
    expected = answers(mlp(), ROWS)
    requests = [infer("tiny_mlp", x=ROWS[i : i + 1]) for i in range(len(ROWS))]
    with ThreadPoolExecutor(16) as callers:
        replies = list(callers.map(stubs.infer, requests * 20))
    for i, reply in enumerate(replies):
        np.testing.assert_allclose(outputs(reply)["logits"][0], expected[i % len(ROWS)], atol=1e-4)


def test_signature_is_that_of_the_file(stubs: Stubs) -> None:
    request = open_inference_pb2.ModelMetadataRequest(name="tiny_tokens")
    described = stubs.inference.ModelMetadata(request, timeout=TIMEOUT_S)
    found = [(tensor.name, tensor.datatype, [*tensor.shape]) for tensor in [*described.inputs, *described.outputs]]
    assert found == [
        ("input_ids", "INT64", [-1, -1]),
        ("attention_mask", "INT64", [-1, -1]),
        ("logits", "FP32", [-1, 3]),
    ]
    config = stubs.inference.ModelConfig(open_inference_pb2.ModelConfigRequest(name="tiny_mlp"), timeout=TIMEOUT_S)
    assert config.config.parameters["tier_compiler"].string_value == "onnxruntime"


def test_typed_protocol_answers_with_tensors(stubs: Stubs) -> None:
    reply = stubs.predict(ask("tiny_mlp", tensors(x=ROWS[0]), tensors(x=ROWS[1])))
    found = [read_tensors(prediction.tensors)["logits"] for prediction in reply.predictions]
    np.testing.assert_allclose(found, answers(mlp(), ROWS[:2]), atol=1e-4)


def test_client_sends_arrays(server: ServerProcess) -> None:
    with Client(server.ready().target) as client:
        alone, named = client.predict("tiny_mlp", [ROWS[0], {"x": ROWS[1]}])
        assert isinstance(alone, Tensors)
        assert isinstance(named, Tensors)
        np.testing.assert_allclose(
            [alone.tensors["logits"], named.tensors["logits"]], answers(mlp(), ROWS[:2]), atol=1e-4
        )
        assert client.model("tiny_mlp").raw_input == ""


def test_command_sends_rows_of_tensors(server: ServerProcess, tmp_path: Path, home: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=ROWS[:2])
    (tmp_path / "row.json").write_text(json.dumps({"x": ROWS[2].tolist()}))
    inputs = [f"{tmp_path}/rows.npz", f"{tmp_path}/row.json", json.dumps(ROWS[3].tolist()), '{"x": ["a"]}', "{"]
    said = run_preloaded(
        "predict", "tiny_mlp", *inputs, "--json", "--server", server.ready().target, ZOO_HOME=str(home)
    )
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    found = [line["tensors"]["logits"] for line in lines[:4]]
    np.testing.assert_allclose(found, answers(mlp(), ROWS[:4]), atol=1e-4)
    assert [line["error"]["message"] for line in lines[4:]] == [
        "x: expected numbers of equal rows, FP32",
        "is not valid JSON",
    ]


def test_one_bad_row_does_not_fail_its_neighbours(stubs: Stubs) -> None:
    wrong = tensors(x=np.zeros(5, np.float32))
    reply = stubs.predict(ask("tiny_mlp", tensors(x=ROWS[0]), wrong, {"text": "hello"}, tensors(x=ROWS[1])))
    kinds = [prediction.WhichOneof("result") for prediction in reply.predictions]
    assert kinds == ["tensors", "error", "error", "tensors"]
    assert "expected shape [4] a row, got [5]" in reply.predictions[1].error.message
    assert "expected tensors for model 'tiny_mlp', got text" in reply.predictions[2].error.message


@pytest.mark.parametrize(
    ("ids", "mask", "words"),
    [
        ([[1, TOKENS]], [[1, 1]], f"below {TOKENS}"),
        ([[1, 2]], [[1]], "along the axis 'tokens'"),
        ([[1] * (LONGEST + 1)], [[1] * (LONGEST + 1)], f"at most {LONGEST} elements"),
        ([[]], [[]], "takes [-1, -1]"),
    ],
)
def test_tensors_that_the_network_cannot_take_are_refused_by_name(
    stubs: Stubs, ids: list[list[int]], mask: list[list[int]], words: str
) -> None:
    wrong = infer("tiny_tokens", input_ids=np.array(ids, np.int64), attention_mask=np.array(mask, np.int64))
    error = expect_error(lambda: stubs.infer(wrong))
    assert error.code == "INVALID_ARGUMENT"
    assert words in error.message


def test_raw_input_is_refused(stubs: Stubs) -> None:
    error = expect_error(lambda: stubs.infer(infer("tiny_mlp", text=[b"hello"])))
    assert error.code == "INVALID_ARGUMENT"
    assert "expected 'x' FP32 [-1, 4], got 'text'" in error.message


def test_model_is_shown_with_what_decides_its_batches(server: ServerProcess, home: Path) -> None:
    shown = run_preloaded("show", "tiny_single", "--server", server.ready().target, ZOO_HOME=str(home))
    assert "tensors only" in shown.stdout
    assert "the file fixes the first axis of 'x' at 1" in shown.stdout
    assert "onnxruntime" in shown.stdout
    local = run_preloaded("show", "tiny_single", "--server", "127.0.0.1:9", ZOO_HOME=str(home))
    assert "the file fixes the first axis of 'x' at 1" in local.stdout


def test_faster_network_gives_the_same_answers(files: Path, home: Path) -> None:
    """OpenVINO is tried; whether it is faster depends on the machine."""
    pulled = run_preloaded("pull", f"onnx:{files}/tiny_cnn.onnx", "--name", "optimised", ZOO_HOME=str(home))
    assert pulled.returncode == 0, pulled.stderr
    described = open_inference_pb2.ModelConfigRequest(name="optimised")
    with (
        ServerProcess("--model", "optimised", ZOO_HOME=str(home), ZOO_OPTIMIZE="auto") as process,
        stubs_of(process.ready()) as stubs,
    ):

        def tier() -> dict[str, str]:
            found = stubs.inference.ModelConfig(described, timeout=TIMEOUT_S).config.parameters
            return {name: parameter.string_value for name, parameter in found.items() if name.startswith("tier")}

        until(lambda: tier()["tier_state"] == "final", "the last tier")
        assert tier()["tier_candidate"] == "openvino fp32", tier()
        assert tier()["tier_compiler"] in ("onnxruntime", "openvino")
        assert float(tier()["tier_cosine"]) > 0.9999
        found = outputs(stubs.infer(infer("optimised", image=IMAGES)))["logits"]
        np.testing.assert_allclose(found, answers(cnn(), IMAGES), atol=1e-4)


def test_golden_cases_hold_through_the_server(server: ServerProcess, home: Path) -> None:
    models = ("tiny_mlp", "tiny_tokens", "tiny_photo")
    said = run_preloaded("verify", *models, "--server", server.ready().target, ZOO_HOME=str(home))
    assert said.returncode == 0, said.stdout + said.stderr
    assert "tensors of seed 0" in said.stdout
