"""Networks that compare images with texts are pulled and served: labels of a caller, texts and tensors, over both protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from model_zoo.golden.golden_case import golden_path
from model_zoo.references.reference import parse_reference
from service.client import Classification, Client
from service.pb import open_inference_pb2
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.references.verification_inputs import PHOTOS
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, stubs_of, tensors
from tests.support.references.tiny_image_text import clip, siglip
from tests.support.tasks.pictures import png

MODELS = {"tiny_clip": clip, "tiny_siglip": siglip}
JPEGS = [golden_path(name).read_bytes() for name in PHOTOS]
LABELS = ["cat", "cup", "the old lighthouse"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    for name in MODELS:
        (root / name).mkdir()
    return {name: make(root / name) for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], home: Path) -> Iterator[ServerProcess]:
    with mock.patch("service.references.pull.library_answers", lambda _, asked: answer(asked)):
        for folder in folders.values():  # here: a process of its own for each takes ten seconds
            pull_reference(parse_reference(f"local:{folder}"), home)
    with ServerProcess(*(word for name in folders for word in ("--model", name)), ZOO_HOME=str(home)) as started:
        yield started.ready()


@pytest.fixture(scope="module")
def pulled(server: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(server) as stubs:
        yield stubs


def with_texts(model: str, images: Sequence[bytes], texts: Sequence[Sequence[bytes]]) -> Any:
    """An Open Inference request of images with texts."""
    made = infer(model, image=list(images))
    made.inputs.add(name="text", datatype="BYTES", shape=[len(texts), len(texts[0])])
    elements = [text for row in texts for text in row]
    made.raw_input_contents.append(b"".join(len(text).to_bytes(4, "little") + text for text in elements))
    return made


def sentences(labels: Sequence[str] = LABELS) -> list[bytes]:
    return [f"This is a photo of {label}.".encode() for label in labels]


def probabilities(model: str, logits: np.ndarray) -> np.ndarray:
    if model == "tiny_siglip":
        return np.asarray(1 / (1 + np.exp(-logits)))
    return np.asarray(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))


def labels_of(result: Any) -> dict[str, float]:
    return {label.name: label.score for label in result.classification.labels}


@pytest.mark.parametrize("model", MODELS)
def test_labels_are_answered_alike_by_message_by_texts_by_sdk_and_by_command(
    server: ServerProcess, pulled: Stubs, model: str, tmp_path: Path
) -> None:
    photos = [*JPEGS, *JPEGS]
    reply = pulled.predict(ask(model, *({"image": data} for data in photos), candidate_labels=LABELS))
    answers = [labels_of(result) for result in reply.predictions]
    assert [set(found) for found in answers] == [set(LABELS)] * 4
    assert answers[0] == pytest.approx(answers[2], abs=1e-4)
    assert answers[0] != pytest.approx(answers[1], abs=1e-3)
    if model == "tiny_clip":
        assert sum(answers[0].values()) == pytest.approx(1, abs=1e-4)
    found = outputs(pulled.infer(with_texts(model, JPEGS, [sentences()] * 2)))
    expected = [[answers[i][label] for label in LABELS] for i in range(2)]
    np.testing.assert_allclose(probabilities(model, found["logits"]), expected, atol=1e-4)
    assert found["text_embeds"].shape == (2, 3, found["image_embeds"].shape[1])
    with Client(server.target) as client:
        [one] = client.predict(model, [JPEGS[0]], candidate_labels=LABELS, top_k=2)
    assert isinstance(one, Classification)
    assert {label.name: label.score for label in one.labels} == pytest.approx(
        dict(sorted(answers[0].items(), key=lambda pair: -pair[1])[:2]), abs=1e-4
    )
    (tmp_path / "photo.jpg").write_bytes(JPEGS[0])
    words = [word for label in LABELS for word in ("--label", label)]
    done = run_preloaded("predict", model, str(tmp_path / "photo.jpg"), *words, "--json", "--server", server.target)
    assert done.returncode == 0, done.stderr
    [line] = [json.loads(line) for line in done.stdout.splitlines()]
    assert {label["name"]: label["score"] for label in line["labels"]} == pytest.approx(answers[0], abs=1e-4)
    shown = run_preloaded("predict", model, str(tmp_path / "photo.jpg"), *words, "--server", server.target)
    assert max(answers[0], key=lambda name: answers[0][name]) in shown.stdout


@pytest.mark.parametrize("model", MODELS)
def test_template_says_what_is_asked_of_a_label(pulled: Stubs, model: str) -> None:
    plain = labels_of(pulled.predict(ask(model, {"image": JPEGS[0]}, candidate_labels=LABELS)).predictions[0])
    full = [text.decode() for text in sentences()]
    same = pulled.predict(ask(model, {"image": JPEGS[0]}, candidate_labels=full, hypothesis_template="{}"))
    assert sorted(labels_of(same.predictions[0]).values()) == pytest.approx(sorted(plain.values()), abs=1e-4)
    other = pulled.predict(ask(model, {"image": JPEGS[0]}, candidate_labels=LABELS, hypothesis_template="the {}"))
    assert labels_of(other.predictions[0]) != pytest.approx(plain, abs=1e-3)


def test_tensors_are_taken_in_place_of_photos_and_texts(pulled: Stubs, folders: dict[str, Path]) -> None:
    from transformers import AutoTokenizer

    for model, folder in folders.items():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        texts = [text.decode()[:20] for text in sentences()]
        padding = "max_length" if model == "tiny_siglip" else True
        ids = tokenizer(texts, padding=padding, return_tensors="np")["input_ids"].astype(np.int64)
        images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
        both = outputs(pulled.infer(infer(model, pixel_values=images, input_ids=np.stack([ids, ids[::-1]]))))
        np.testing.assert_allclose(
            both["text_embeds"][0], both["text_embeds"][1, ::-1], atol=1e-5, err_msg="one text has one embedding"
        )
        alone = outputs(pulled.infer(infer(model, pixel_values=images[1:], input_ids=ids[::-1][None])))
        np.testing.assert_allclose(both["logits"][1:], alone["logits"], atol=1e-3)
        row = pulled.predict(ask(model, tensors(pixel_values=images[1], input_ids=ids[::-1].copy())))
        by_message = np.frombuffer(row.predictions[0].tensors.tensors["logits"].data, "<f4")
        np.testing.assert_allclose(by_message, alone["logits"][0], atol=1e-3)
        pixels = np.full((1, 64, 64, 3), 9, np.uint8)
        assert outputs(pulled.infer(infer(model, pixels=pixels, input_ids=ids[None])))["logits"].shape == (1, 3)


@pytest.mark.parametrize("model", MODELS)
def test_callers_at_once_with_unlike_labels_get_their_own_answers(pulled: Stubs, model: str) -> None:
    lists = [LABELS, LABELS[:1], [f"label {i}" for i in range(20)], LABELS[::-1], ["a", "of", "film"]]
    requests = [ask(model, {"image": JPEGS[i % 2]}, candidate_labels=labels) for i, labels in enumerate(lists)]
    expected = [labels_of(pulled.predict(request).predictions[0]) for request in requests]
    with ThreadPoolExecutor(16) as callers:
        replies = list(callers.map(pulled.predict, requests * 10))
    assert max(reply.timing.batch_rows for reply in replies) > 1
    for i, reply in enumerate(replies):
        assert labels_of(reply.predictions[0]) == pytest.approx(expected[i % len(lists)], abs=1e-3)


def test_models_show_both_inputs_and_are_verified_through_the_server(
    pulled: Stubs, server: ServerProcess, home: Path
) -> None:
    described = pulled.inference.ModelMetadata(
        open_inference_pb2.ModelMetadataRequest(name="tiny_clip"), timeout=TIMEOUT_S
    )
    assert [(tensor.name, list(tensor.shape)) for tensor in described.inputs] == [
        ("image", [-1, 1]),
        ("text", [-1, -1]),
    ]
    done = run_preloaded("verify", *MODELS, "--server", server.target, ZOO_HOME=str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("cat.jpg") == 4
    calls = run_preloaded("show", "tiny_clip", "--server", server.target).stdout
    assert "--label cat --label dog" in calls


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "options.candidate_labels"),
        ({"candidate_labels": [str(i) for i in range(101)]}, "options.candidate_labels"),
        ({"candidate_labels": ["a", " "]}, "options.candidate_labels[1]"),
        ({"candidate_labels": ["a", "b" * 1001]}, "options.candidate_labels[1]"),
        ({"candidate_labels": ["a", "a"]}, "options.candidate_labels"),
        ({"candidate_labels": ["a"], "hypothesis_template": "no place"}, "options.hypothesis_template"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{} or {}"}, "options.hypothesis_template"),
        ({"candidate_labels": ["a"], "multi_label": True}, "options.multi_label"),
    ],
)
def test_wrong_labels_are_refused_by_name(pulled: Stubs, options: dict[str, Any], field: str) -> None:
    error = expect_error(lambda: pulled.predict(ask("tiny_clip", {"image": JPEGS[0]}, **options)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", field)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "instance",
    [
        {"image": b""},
        {"image": b"no photo"},
        {"image": JPEGS[0][:500]},
        {"image": png(60_000, 60_000)},
        {"text": "a cat"},
        {"audio": b"RIFF"},
    ],
    ids=["empty", "undecodable", "truncated", "huge", "a text", "a sound"],
)
def test_wrong_input_is_refused_and_fails_alone(pulled: Stubs, model: str, instance: dict[str, Any]) -> None:
    error = expect_error(lambda: pulled.predict(ask(model, instance, candidate_labels=LABELS)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "instances[0]")
    good = {"image": JPEGS[0]}
    results = pulled.predict(ask(model, good, instance, good, candidate_labels=LABELS)).predictions
    assert [result.WhichOneof("result") for result in results] == ["classification", "error", "classification"]


def test_most_and_longest_labels_are_answered(pulled: Stubs) -> None:
    labels = [f"{i:03d} {'x ' * 498}" for i in range(100)]
    template = "y " * 499 + "{}"
    for model in MODELS:
        asked = ask(model, {"image": JPEGS[0]}, candidate_labels=labels, hypothesis_template=template)
        [result] = pulled.predict(asked).predictions
        assert len(result.classification.labels) == 100
        assert result.notes["truncated"] is True


def test_texts_over_open_inference_are_checked(pulled: Stubs) -> None:
    image = JPEGS[:1]
    many = [[b"a"] * 100] * 101
    for request, field in (
        (infer("tiny_clip", image=image), "inputs"),
        (with_texts("tiny_clip", image, [[b"a"] * 101]), "inputs[1].shape"),
        (with_texts("tiny_clip", image, [[b"a"], [b"a"]]), "inputs[1].shape"),
        (with_texts("tiny_clip", image * 101, many), "inputs[1].shape"),
        (with_texts("tiny_clip", image, [[b"a", b" "]]), "inputs[0][0].text[1]"),
        (with_texts("tiny_clip", image, [[b"\xff"]]), "inputs[0][0].text[0]"),
        (with_texts("tiny_clip", image, [[b"a" * 9000]]), "inputs[0][0].text[0]"),
        (with_texts("tiny_clip", [b"bad"], [[b"a"]]), "inputs[0][0]"),
    ):
        error = expect_error(lambda request=request: pulled.infer(request))
        assert (error.code, error.field) == ("INVALID_ARGUMENT", field), error
    ids = np.full((1, 2, 5), 1_000_000, np.int64)
    pixels = np.zeros((1, 3, 64, 64), np.float32)
    error = expect_error(lambda: pulled.infer(infer("tiny_clip", pixel_values=pixels, input_ids=ids)))
    assert "token ids in 0..513, got 1000000" in error.message


def test_photos_are_found_by_free_words_by_the_cosine_of_the_networks_embeddings(
    server: ServerProcess, pulled: Stubs, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, data in enumerate(JPEGS):
        (folder / f"{i}.jpg").write_bytes(data)
    target = ("--index", str(tmp_path / "index.sqlite3"), "--server", server.target, "--json")
    done = run_preloaded("photos", "index", str(folder), "--words-model", "tiny_clip", *target)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answered"] == {"words": 2}
    done = run_preloaded("photos", "search", str(folder), "cat", *target)
    assert done.returncode == 0, done.stderr
    found = {photo["photo"]: photo["score"] for photo in json.loads(done.stdout)["photos"]}
    embeddings = outputs(pulled.infer(with_texts("tiny_clip", JPEGS, [sentences(["cat"])] * 2)))
    cosines = (embeddings["image_embeds"] * embeddings["text_embeds"][:, 0]).sum(axis=1)
    assert found == pytest.approx({"0.jpg": cosines[0], "1.jpg": cosines[1]}, abs=2e-3)
    assert list(found) == sorted(found, key=lambda name: -found[name])
