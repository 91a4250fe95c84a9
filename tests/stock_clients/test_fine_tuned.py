"""A stranger's first hour: three lines of `zoo finetune`, and Triton's stock client calls what came of them by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.stock_clients.triton_calls import (
    CNN,
    TRANSFORMER,
    inputs,
    refused,
)
from tests.support.end_to_end.server_process import ServerProcess, run_zoo, zoo_home
from tests.support.end_to_end.user_data import (
    NEW_SENTENCES,
    PHOTO_CLASSES,
    STYLED,
    STYLES,
    TOPICS,
    new_photos,
    photos_zip,
    styles_csv,
    texts,
    topics_csv,
)

LABELS = {"pets": sorted(PHOTO_CLASSES), "topics": sorted(TOPICS), "styles": sorted(STYLES)}


@dataclass(frozen=True)
class Tuned:
    server: ServerProcess
    client: triton.InferenceServerClient
    said: dict[str, str]
    """What `zoo finetune` printed, by the model's name."""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    """A CNN, a Transformer and an RNN on a stranger's data, and a second version of the CNN; all made from a shell."""
    folder = tmp_path_factory.mktemp("stranger")
    home = folder / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    photos = str(photos_zip(folder / "photos.zip"))
    lines = {
        "pets": [CNN, photos],
        "topics": [TRANSFORMER, str(topics_csv(folder / "topics.csv"))],
        "styles": ["char_lstm", str(styles_csv(folder / "styles.csv")), "--target", "style"],
        "pets again": [CNN, photos, "--set", "head=mlp", "--no-promote"],
    }

    def finetune(what: str) -> str:
        line = ["finetune", *lines[what], "--name", what.split()[0], "--server", server.target]
        done = run_zoo(*line)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    settings = {"ZOO_HOME": str(home), "ZOO_MODELS": f"{CNN},{TRANSFORMER}", "ZOO_JOBS_PER_DEVICE": "3"}
    with ServerProcess(cold=True, **settings) as server, ThreadPoolExecutor(3) as shells:
        server.ready()
        said = dict(zip(LABELS, shells.map(finetune, LABELS), strict=True))
        said["pets again"] = finetune("pets again")
        with triton.InferenceServerClient(server.target) as client:
            yield Tuned(server, client, said)
    server.assert_log_is_clean()


def classify(tuned: Tuned, model: str, name: str, data: Sequence[bytes], version: str = "") -> list[list[str]]:
    """Raw input in; the classification extension's labels out, the best first, for each row."""
    output = triton.InferRequestedOutput("logits", class_count=len(LABELS[model]))
    reply = tuned.client.infer(model, inputs(**{name: list(data)}), model_version=version, outputs=[output])
    found = reply.as_numpy("logits")
    assert found.shape == (len(data), len(LABELS[model]))
    return [[element.decode().split(":", 2)[2] for element in row] for row in found]


def test_finetune_command_prints_metrics_and_the_predict_command(tuned: Tuned) -> None:
    for name in LABELS:
        assert "version 1 is stable: accuracy " in tuned.said[name]
        assert f"zoo predict {name} " in tuned.said[name] or f" {name} " in tuned.said[name]
    assert "version 2" in tuned.said["pets again"]


def test_photos_get_the_labels_of_the_dataset(tuned: Tuned) -> None:
    photos = [(label, path.read_bytes()) for label, paths in new_photos().items() for path in paths]
    answers = classify(tuned, "pets", "image", [data for _, data in photos])
    assert all(sorted(labels) == LABELS["pets"] for labels in answers)
    right = [labels[0] == label for labels, (label, _) in zip(answers, photos, strict=True)]
    assert sum(right) >= 0.9 * len(right)


def test_sentences_get_the_labels_of_the_dataset(tuned: Tuned) -> None:
    answers = classify(tuned, "topics", "text", [text.encode() for text in NEW_SENTENCES.values()])
    assert [labels[0] for labels in answers] == list(NEW_SENTENCES)


def test_char_rnn_gives_the_labels_of_the_dataset(tuned: Tuned) -> None:
    unseen = [(style, text) for style in STYLES for text in texts(style)[STYLED : STYLED + 20]]
    answers = classify(tuned, "styles", "text", [text.encode() for _, text in unseen])
    right = [labels[0] == style for labels, (style, _) in zip(answers, unseen, strict=True)]
    assert sum(right) >= 0.7 * len(right)


def test_logits_without_classification_extension_are_floats(tuned: Tuned) -> None:
    photo = new_photos()["birds"][0].read_bytes()
    logits = tuned.client.infer("pets", inputs(image=[photo, photo])).as_numpy("logits")
    assert (logits.dtype, logits.shape) == (np.float32, (2, 3))
    assert LABELS["pets"][int(logits[0].argmax())] == "birds"


@pytest.mark.parametrize(("version", "number"), [("", "1"), ("1", "1"), ("2", "2"), ("stable", "1")])
def test_tuned_version_is_called_by_number_and_alias(tuned: Tuned, version: str, number: str) -> None:
    photo = new_photos()["coins"][0].read_bytes()
    reply = tuned.client.infer("pets", inputs(image=[photo]), model_version=version).get_response()
    assert (reply.model_name, reply.model_version) == ("pets", number)
    assert classify(tuned, "pets", "image", [photo], version)[0][0] == "coins"
    assert tuned.client.is_model_ready("pets", version)


def test_missing_tuned_version_is_not_found(tuned: Tuned) -> None:
    photo = new_photos()["coins"][0].read_bytes()
    refusal = refused(lambda: tuned.client.infer("pets", inputs(image=[photo]), model_version="9"))
    assert refusal.code == "NOT_FOUND"
    assert not tuned.client.is_model_ready("pets", "9")
    assert refused(lambda: tuned.client.get_model_metadata("pets", "9")).code == "NOT_FOUND"


def test_class_count_is_limited_to_the_classes_of_the_dataset(tuned: Tuned) -> None:
    photo = new_photos()["coins"][0].read_bytes()
    output = triton.InferRequestedOutput("logits", class_count=50)
    assert tuned.client.infer("pets", inputs(image=[photo]), outputs=[output]).as_numpy("logits").shape == (1, 3)


def test_metadata_of_tuned_model_has_tensors_and_versions(tuned: Tuned) -> None:
    metadata = tuned.client.get_model_metadata("pets")
    assert sorted(metadata.versions) == ["1", "2"]
    assert [(o.name, o.datatype, list(o.shape)) for o in metadata.outputs] == [("logits", "FP32", [-1, 3])]
    assert {("pixel_values", "FP32")} <= {(i.name, i.datatype) for i in metadata.inputs}
    of_text = tuned.client.get_model_metadata("topics", "1")
    assert [(o.name, list(o.shape)) for o in of_text.outputs] == [("logits", [-1, 3])]


def test_repository_index_lists_every_version_with_its_state(tuned: Tuned) -> None:
    index = tuned.client.get_model_repository_index().models
    found = {(m.name, m.version, m.state) for m in index if m.name in LABELS}
    assert found == {(name, "1", "READY") for name in LABELS} | {("pets", "2", "READY")}


def test_config_of_tuned_model_names_output_and_label_count(tuned: Tuned) -> None:
    config = tuned.client.get_model_config("pets").config
    assert config.name == "pets"
    [output] = config.output
    assert (output.name, list(output.dims)) == ("logits", [3])
    assert config.max_batch_size > 0


def test_statistics_are_kept_for_each_version(tuned: Tuned) -> None:
    photo = new_photos()["coins"][0].read_bytes()

    def count(version: str) -> int:
        [found] = tuned.client.get_inference_statistics("pets", version).model_stats
        return int(found.inference_stats.success.count)

    before = count("1"), count("2")
    tuned.client.infer("pets", inputs(image=[photo]), model_version="2")
    assert (count("1"), count("2")) == (before[0], before[1] + 1)


def test_tuned_models_accept_tensors(tuned: Tuned) -> None:
    """As for the base: who prepares his own input may."""
    pixels = np.zeros((2, 3, 224, 224), np.float32)
    assert tuned.client.infer("pets", inputs(pixel_values=pixels)).as_numpy("logits").shape == (2, 3)


def test_report_command_saves_an_html_page(tuned: Tuned, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run_zoo("report", "pets", "--html", page, "--server", tuned.server.target)
    assert done.returncode == 0, done.stderr
    assert "birds" in page.read_text()
    assert "accuracy" in done.stdout


def test_rollback_command_is_seen_by_the_triton_client(tuned: Tuned) -> None:
    photo = new_photos()["coins"][0].read_bytes()

    def answering() -> str:
        return str(tuned.client.infer("pets", inputs(image=[photo])).get_response().model_version)

    assert answering() == "1"
    assert run_zoo("promote", "pets", "2", "--server", tuned.server.target).returncode == 0
    assert answering() == "2"
    assert run_zoo("rollback", "pets", "--server", tuned.server.target).returncode == 0
    assert answering() == "1"
