"""Triton's client compares images with texts: by raw input, by tensors, and by the program that `zoo show` prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.stock_clients.triton_calls import CAT, inputs, refused
from tests.support.end_to_end.server_process import EXAMPLES, REPOSITORY, TIMEOUT_S, ServerProcess, run_zoo

MODEL = "tiny_clip"
TEXTS = [b"This is a photo of a cat.", b"This is a photo of a cup.", b"a rocket"]


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("pulled")
    python = REPOSITORY / ".venv" / "bin" / "python"
    command = [str(python), "-m", "tests.support.end_to_end.pulled_home", str(folder), MODEL]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=3 * TIMEOUT_S)
    with ServerProcess("--model", MODEL, ZOO_HOME=str(folder / "home")) as process:
        yield process.ready()


@pytest.fixture(scope="module")
def client(matcher: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(matcher.target) as made:
        yield made


def objects(rows: list[list[bytes]]) -> np.ndarray:
    return np.array(rows, np.object_)


def test_images_are_compared_with_their_own_texts(client: triton.InferenceServerClient) -> None:
    coffee = (EXAMPLES / "coffee.jpg").read_bytes()
    found = client.infer(MODEL, inputs(image=[CAT, coffee], text=objects([TEXTS, TEXTS[::-1]])))
    alone = client.infer(MODEL, inputs(image=[coffee], text=objects([TEXTS])))
    logits = found.as_numpy("logits")
    assert logits.shape == (2, 3)
    np.testing.assert_allclose(logits[1, ::-1], alone.as_numpy("logits")[0], atol=1e-3)
    images, texts = found.as_numpy("image_embeds"), found.as_numpy("text_embeds")
    order = np.argsort(np.einsum("nd,ntd->nt", images, texts), axis=1)
    np.testing.assert_array_equal(order, np.argsort(logits, axis=1))


def test_tensors_give_the_same_space(client: triton.InferenceServerClient) -> None:
    described = {spec.name: list(spec.shape) for spec in client.get_model_metadata(MODEL).inputs}
    assert described == {"image": [-1, 1], "text": [-1, -1]}
    pixels = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    ids = np.array([[[5, 6, 513], [7, 513, 513]]] * 2, np.int64)
    found = client.infer(
        MODEL, inputs(pixel_values=pixels, input_ids=ids), outputs=[triton.InferRequestedOutput("logits")]
    )
    assert found.as_numpy("logits").shape == (2, 2)
    assert found.as_numpy("text_embeds") is None
    shorter = client.infer(MODEL, inputs(pixel_values=pixels, input_ids=ids[:, 1:, :2]))
    np.testing.assert_allclose(shorter.as_numpy("logits")[:, 0], found.as_numpy("logits")[:, 1], atol=1e-3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image": [CAT]}, "'text' BYTES"),
        ({"image": [b""], "text": objects([TEXTS])}, "is empty"),
        ({"image": [CAT], "text": objects([[b"a"] * 101])}, "1 to 100 texts"),
        ({"image": [CAT], "text": objects([[b"a", b""]])}, "is empty"),
    ],
)
def test_wrong_input_is_refused(client: triton.InferenceServerClient, given: dict, words: str) -> None:
    refusal = refused(lambda: client.infer(MODEL, inputs(**given)))
    assert refusal.code == "INVALID_ARGUMENT"
    assert words in refusal.message


def test_shown_program_prints_logits(
    matcher: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)  # the program names examples/cat.jpg
    shown = run_zoo("show", MODEL, "--json", "--server", matcher.target)
    assert shown.returncode == 0, shown.stderr
    exec(compile(json.loads(shown.stdout)["calls"]["tritonclient"], "tritonclient", "exec"), {})
    assert capsys.readouterr().out.startswith("[[")
