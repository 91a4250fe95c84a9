"""A stranger's first minutes: the server says how to call it, and what it says works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from service.client import Client
from tests.support.end_to_end import samples
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import (
    EXAMPLES,
    REPOSITORY,
    TIMEOUT_S,
    ServerProcess,
    environment,
)
from tests.support.end_to_end.stubs import CNN, RNN, TRANSFORMER

CATS = {"tabby, tabby cat", "tiger cat", "Egyptian cat", "Persian cat", "Siamese cat, Siamese"}


def zoo_json(*arguments: str | Path, server: ServerProcess) -> list[dict]:
    """What `zoo … --json` prints, line by line."""
    ended = run_preloaded(*arguments, "--json", "--server", server.target)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("model", [CNN, RNN, TRANSFORMER])
def test_commands_printed_at_start_work_as_pasted(server: ServerProcess, model: str) -> None:
    server.wait_for_line("Call it from another terminal")
    server.wait_for_line(f" {RNN} ")
    line = next(line.strip() for line in server.out if " predict " in line and f" {model} " in line)
    ended = subprocess.run(
        shlex.split(line), cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()


def test_start_prints_addresses_and_models(server: ServerProcess) -> None:
    said = "".join(server.out)
    assert f"127.0.0.1:{server.port}" in said
    assert f"http://127.0.0.1:{server.http_port}/metrics" in said
    assert f"http://127.0.0.1:{server.http_port}/healthz" in said
    assert all(model in said for model in (CNN, RNN, TRANSFORMER))


def test_predict_of_a_cat_photo_prints_cat_first(server: ServerProcess) -> None:
    ended = run_preloaded("predict", CNN, EXAMPLES / "cat.jpg", "--server", server.target)
    assert ended.returncode == 0, ended.stderr
    best = ended.stdout.splitlines()[1]
    assert any(cat in best for cat in CATS), ended.stdout
    [line] = zoo_json("predict", CNN, EXAMPLES / "cat.jpg", server=server)
    assert line["model"] == CNN
    assert line["version"] == 1
    assert line["labels"][0]["name"] in CATS
    assert len(line["labels"]) == 5
    scores = [label["score"] for label in line["labels"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_voice_activity_finds_speech_and_none_in_noise(server: ServerProcess, tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(samples.wav(samples.noise_samples()))
    spoken, silent = zoo_json("predict", RNN, EXAMPLES / "speech.flac", noise, server=server)
    [segment] = spoken["segments"]
    assert segment["start_s"] == pytest.approx(0.26, abs=0.1)
    assert segment["end_s"] == pytest.approx(3.07, abs=0.1)
    assert max(spoken["frame_probabilities"]) > 0.9
    assert len(spoken["frame_probabilities"]) == -(-spoken["duration_s"] // spoken["frame_s"])
    assert silent["segments"] == []
    assert max(silent["frame_probabilities"]) < 0.5


def test_paraphrase_is_nearer_than_an_unrelated_sentence(server: ServerProcess) -> None:
    texts = ("A cat sleeps on the sofa.", "A kitten naps on the couch.", "Stocks fell sharply.")
    vectors = [np.array(line["embedding"]) for line in zoo_json("predict", TRANSFORMER, *texts, server=server)]
    assert [np.linalg.norm(vector) for vector in vectors] == pytest.approx([1, 1, 1], abs=1e-5)
    paraphrase, unrelated = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert paraphrase > 0.5 > 0.2 > unrelated


def test_folder_is_answered_in_order_of_its_files(server: ServerProcess) -> None:
    lines = [one for one in zoo_json("predict", CNN, EXAMPLES, server=server) if Path(one["input"]).parent == EXAMPLES]
    assert [Path(line["input"]).name for line in lines] == ["cat.jpg", "coffee.jpg", "rocket.jpg"]
    best = [line["labels"][0]["name"] for line in lines]
    assert best[0] in CATS
    assert best[1] == "espresso"
    assert best[2] == "missile" or "projectile" in best[2]


def test_bad_file_of_many_fails_alone(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((EXAMPLES / "cat.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"not an image")
    (tmp_path / "c.jpg").write_bytes((EXAMPLES / "coffee.jpg").read_bytes())
    ended = run_preloaded("predict", CNN, tmp_path, "--json", "--server", server.target)
    first, bad, last = map(json.loads, ended.stdout.splitlines())
    assert ended.returncode == 1
    assert first["labels"][0]["name"] in CATS
    assert bad["error"]["code"] == "INVALID_ARGUMENT"
    assert last["labels"][0]["name"] == "espresso"


def test_status_command_lists_the_loaded_models(server: ServerProcess) -> None:
    people = run_preloaded("status", "--server", server.target)
    assert people.returncode == 0
    assert f"{server.target} is live and ready" in people.stdout
    for model in (CNN, RNN, TRANSFORMER):
        assert re.search(rf"{model}\s+READY", people.stdout), people.stdout
    [status] = zoo_json("status", server=server)
    assert (status["live"], status["ready"]) == (True, True)
    states = {model["name"]: model["state"] for model in status["models"]}
    assert states.items() >= dict.fromkeys((CNN, RNN, TRANSFORMER), "READY").items()


def test_models_and_show_commands_describe_a_model(server: ServerProcess) -> None:
    [listed] = zoo_json("models", server=server)
    assert listed["source"] == "server"
    families = {model["name"]: model["family"] for model in listed["models"]}
    assert families.items() >= {CNN: "cnn", RNN: "rnn", TRANSFORMER: "transformer"}.items()
    [shown] = zoo_json("show", CNN, server=server)
    model = shown["model"]
    assert model["inputs"] == [{"name": "pixel_values", "datatype": "FP32", "shape": [-1, 3, 224, 224]}]
    assert model["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 1000]}]
    assert len(model["labels"]) == 1000
    assert model["licence"] == "Apache-2.0"
    assert model["aliases"] == {"stable": 1}
    assert model["memory_bytes"] > 4 * 4_600_000
    people = run_preloaded("show", CNN, "--server", server.target)
    assert "pixel_values FP32 [-1, 3, 224, 224]" in people.stdout
    assert f"zoo predict --server {server.target} {CNN}" in people.stdout


def test_client_gives_the_same_answers_as_the_command(server: ServerProcess) -> None:
    with Client(server.target) as zoo:
        [cat] = zoo.predict(CNN, EXAMPLES / "cat.jpg", top_k=1)
        assert [label.name in CATS for label in cat.labels] == [True]
        assert cat.timing.batch_rows == 1
        assert cat.timing.execute_s > 0
        assert cat.timing.device == "cpu"
        assert zoo.ready()
