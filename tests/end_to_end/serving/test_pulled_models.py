"""Networks that no card of the zoo names are pulled by reference and served, for raw input and for tensors."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from model_zoo.golden.golden_case import golden_path
from model_zoo.references.reference import parse_reference
from service.pb import open_inference_pb2
from service.references.library_answers import answer
from service.references.library_request import LibraryRequest
from service.references.pull import pull_reference
from service.references.verification_inputs import PHOTOS, TEXTS, verification_inputs
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, stubs_of
from tests.support.references.tiny_repositories import sentence_encoder, text_classifier, timm_repository

JPEGS = [golden_path(name).read_bytes() for name in PHOTOS]
BYTES = [text.encode() for text in TEXTS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    makers = {"tiny_text": text_classifier, "tiny_photo": timm_repository, "tiny_sentence": sentence_encoder}
    for name in makers:
        (root / name).mkdir()
    return {name: make(root / name) for name, make in makers.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def pulled(folders: dict[str, Path], home: Path) -> Iterator[Stubs]:
    """A server that was started with references, and has nothing else. It pulls the first one; the others were pulled here, since
    a process of its own for each takes ten seconds."""
    with mock.patch("service.references.pull.library_answers", lambda _, asked: answer(asked)):
        for folder in list(folders.values())[1:]:
            pull_reference(parse_reference(f"local:{folder}"), home)
    wanted = [word for folder in folders.values() for word in ("--model", f"local:{folder}")]
    with ServerProcess(*wanted, ZOO_HOME=str(home)) as server, stubs_of(server.ready()) as stubs:
        yield stubs


def library(folder: Path, kind: str, task: str, raw_input: str, max_tokens: int | None = None) -> np.ndarray:
    request = LibraryRequest.model_validate(
        {
            "library": kind,
            "folder": str(folder),
            "task": task,
            "max_tokens": max_tokens,
            "inputs": verification_inputs(raw_input),
        }
    )
    return np.array(answer(request))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def test_texts_get_the_probabilities_of_the_library(pulled: Stubs, folders: dict[str, Path]) -> None:
    expected = library(folders["tiny_text"], "transformers", "text-classification", "text", 64)
    logits = outputs(pulled.infer(infer("tiny_text", text=BYTES)))["logits"]
    np.testing.assert_allclose(softmax(logits.astype(np.float64)), expected, atol=1e-4)


def test_photos_get_the_probabilities_of_the_library(pulled: Stubs, folders: dict[str, Path]) -> None:
    expected = library(folders["tiny_photo"], "timm", "image-classification", "image")
    logits = outputs(pulled.infer(infer("tiny_photo", image=JPEGS)))["logits"]
    np.testing.assert_allclose(softmax(logits.astype(np.float64)), expected, atol=0.02)


def test_sentences_get_the_embedding_of_the_library(pulled: Stubs, folders: dict[str, Path]) -> None:
    expected = library(folders["tiny_sentence"], "sentence-transformers", "feature-extraction", "text", 32)
    found = outputs(pulled.infer(infer("tiny_sentence", text=BYTES)))["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_answer_names_the_classes_of_the_repository(pulled: Stubs) -> None:
    reply = pulled.predict(ask("tiny_photo", {"image": JPEGS[0]}))
    assert {label.name for label in reply.predictions[0].classification.labels} == {"cat", "cup", "rocket"}


def test_tensors_are_described_and_accepted(pulled: Stubs) -> None:
    request = open_inference_pb2.ModelMetadataRequest(name="tiny_text")
    described = pulled.inference.ModelMetadata(request, timeout=TIMEOUT_S)
    assert [tensor.name for tensor in described.inputs] == ["text"]
    ids = np.array([[2, 8, 9, 3], [2, 9, 3, 0]], np.int64)
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.int64)
    together = outputs(pulled.infer(infer("tiny_text", input_ids=ids, attention_mask=mask)))["logits"]
    alone = outputs(pulled.infer(infer("tiny_text", input_ids=ids[1:, :3], attention_mask=mask[1:, :3])))["logits"]
    np.testing.assert_allclose(together[1], alone[0], atol=1e-3)


def test_callers_at_once_get_their_own_answers(pulled: Stubs) -> None:
    expected = outputs(pulled.infer(infer("tiny_text", text=BYTES)))["logits"]
    with ThreadPoolExecutor(16) as callers:
        replies = list(callers.map(pulled.infer, [infer("tiny_text", text=[text]) for text in BYTES] * 16))
    for i, reply in enumerate(replies):
        np.testing.assert_allclose(outputs(reply)["logits"][0], expected[i % len(BYTES)], atol=1e-3)


@pytest.mark.parametrize(
    ("model", "instance", "field"),
    [
        ("tiny_text", {"image": JPEGS[0]}, "instances[0]"),
        ("tiny_photo", {"text": "a cat"}, "instances[0]"),
        ("tiny_photo", {"image": b""}, "instances[0]"),
        ("tiny_photo", {"image": b"no photo"}, "instances[0]"),
        ("tiny_photo", {"image": JPEGS[0][:500]}, "instances[0]"),
    ],
)
def test_wrong_input_is_refused_by_its_place(
    pulled: Stubs, model: str, instance: dict[str, object], field: str
) -> None:
    error = expect_error(lambda: pulled.predict(ask(model, instance)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)


def test_token_beyond_the_vocabulary_is_refused(pulled: Stubs) -> None:
    ids, mask = np.array([[2, 5000, 3]], np.int64), np.ones((1, 3), np.int64)
    error = expect_error(lambda: pulled.infer(infer("tiny_text", input_ids=ids, attention_mask=mask)))
    assert error.code == "INVALID_ARGUMENT"


def test_pulled_models_are_listed_with_their_origin(pulled: Stubs, folders: dict[str, Path], home: Path) -> None:
    again = run_preloaded("pull", f"local:{folders['tiny_text']}", ZOO_HOME=str(home))
    assert again.returncode == 0, again.stderr
    assert "tiny_text: already here" in again.stdout
    assert "equals transformers" in again.stdout
    listed = run_preloaded("models", "--server", "127.0.0.1:9", ZOO_HOME=str(home))
    assert "tiny_sentence" in listed.stdout


def test_command_refuses_what_cannot_be_pulled(tmp_path: Path, home: Path) -> None:
    for reference, words in (
        (f"local:{tmp_path}", "nothing says what it is"),
        (f"local:{tmp_path}/none", "there is no folder"),
        ("ftp:org/name", "is not a reference"),
        ("hf:org/name", "ZOO_OFFLINE"),
    ):
        refused = run_preloaded("pull", reference, "--name", "other", ZOO_HOME=str(home))
        assert refused.returncode == 1
        assert words in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr
