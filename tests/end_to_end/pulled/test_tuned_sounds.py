"""Pulled networks that read sounds are tuned on recordings in folders: the upload, the job, the served classes, a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from model_zoo.references.reference import parse_reference
from service.client import Classification, Client, InvalidRequest, Job, NotFound
from service.pb import prediction_pb2 as pb
from service.references.library_answers import answer
from service.references.pull import pull_reference
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, samples, stubs_of
from tests.support.end_to_end.workshop import RestartableServer
from tests.support.references.tiny_sounds import wav2vec2, whisper_classifier
from tests.support.training.tones import PITCHES, encoded, tone, tones_zip

COUNT = 14
NEW = [(name, tone(hertz, 0.3 + 0.1 * i, 90 + i)) for i in range(4) for name, hertz in PITCHES.items()]
"""Sounds of other lengths than those of the data."""
LONG = {f"low/long{i}.wav": encoded(tone(220, 2.5, i)) for i in range(2)}
"""More than the window of the network."""


@dataclass(frozen=True)
class Tuned:
    """A server whose models were tuned: `pitches` by a head on `ears`, by the command; `windows` by updates of `window`."""

    workshop: RestartableServer
    shown: str
    """What the command printed."""
    job: Job
    """Of `windows`."""
    folder: Path

    @property
    def client(self) -> Client:
        return self.workshop.client


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    root = tmp_path_factory.mktemp("sounds")
    with mock.patch("service.references.pull.library_answers", lambda _, asked: answer(asked)):
        for name, make in (("ears", wav2vec2), ("window", whisper_classifier)):
            (root / name).mkdir()
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home", name=name)
    folder = root / "tones"
    for name, hertz in PITCHES.items():
        (folder / name).mkdir(parents=True)
        for i in range(COUNT):
            (folder / name / f"{i}.ogg").write_bytes(encoded(tone(hertz, 0.2 + 0.05 * i, i), "ogg"))
    (folder / "high" / "broken.flac").write_bytes(b"fLaC and no more")
    (root / "long.zip").write_bytes(tones_zip(10, more=LONG))
    with RestartableServer(root / "home", {"ZOO_MODELS": "ears"}) as workshop:
        client = workshop.client
        data = client.upload_dataset(root / "long.zip")
        job = client.create_job("window", data.id, "windows", method="lora", hyperparameters={"epochs": 2})
        target = workshop.server.target
        done = run_preloaded("finetune", "ears", folder, "--name", "pitches", "--detach", "--server", target)
        assert done.returncode == 0, done.stdout + done.stderr
        (other,) = [one for one in client.jobs() if one.model == "pitches"]
        workshop.succeeded(other)
        yield Tuned(workshop, done.stdout + done.stderr, workshop.succeeded(job), folder)


@pytest.fixture
def stubs(tuned: Tuned) -> Iterator[Stubs]:
    with stubs_of(tuned.workshop.server) as made:
        yield made


def scores(reply: pb.PredictResponse) -> list[dict[str, float]]:
    return [{one.name: one.score for one in found.classification.labels} for found in reply.predictions]


def test_command_reports_the_data_and_its_job_beats_the_baseline(tuned: Tuned) -> None:
    assert "high/broken.flac" in tuned.shown, "a sound that cannot be decoded is named by its path in the data set"
    assert "28 examples of 2 classes, audio_folder" in tuned.shown
    (version,) = tuned.client.versions("pitches").versions
    assert version.lineage is not None
    assert version.lineage.metrics["accuracy"] > version.lineage.baseline_metrics["accuracy"]
    report = tuned.client.report("pitches", 1).report
    assert (report["accounting"]["given"], report["accounting"]["left_out"]) == (2 * COUNT, 0)


def test_sounds_longer_than_the_window_are_counted(tuned: Tuned) -> None:
    assert tuned.job.method == "lora"
    assert tuned.client.report("windows", 1).report["accounting"]["truncated"] == len(LONG)
    path = tuned.folder.parent / "long.wav"
    path.write_bytes(LONG["low/long0.wav"])
    (found,) = tuned.client.predict("windows", path)
    assert found.notes["truncated"] is True


@pytest.mark.parametrize("model", ["pitches", "windows"])
def test_new_sounds_get_the_classes_of_the_data_over_both_protocols(model: str, stubs: Stubs) -> None:
    typed = stubs.predict(ask(model, *(samples(sound) for _, sound in NEW)))
    found = scores(typed)
    assert all(set(one) == set(PITCHES) for one in found)
    files = [encoded(sound, "flac") for _, sound in NEW]
    logits = outputs(stubs.infer(infer(model, audio=files)))["logits"]
    assert logits.shape == (len(NEW), 2)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    order = sorted(PITCHES)
    for ours, row in zip(found, shares, strict=True):
        assert [ours[name] for name in order] == pytest.approx(row.tolist(), abs=5e-3)  # FLAC rounds samples
    if model == "pitches":
        assert [max(one, key=one.__getitem__) for one in found] == [name for name, _ in NEW]


def test_tensors_and_batches_get_the_answers_of_single_sounds(stubs: Stubs) -> None:
    alone = [scores(stubs.predict(ask("pitches", samples(sound))))[0] for _, sound in NEW]
    together = scores(stubs.predict(ask("pitches", *(samples(sound) for _, sound in NEW))))
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    sound = (NEW[0][1] - NEW[0][1].mean()) / np.sqrt(NEW[0][1].var() + 1e-7)  # as the extractor of its makers does
    padded, mask = np.pad(sound, (0, 900)), np.pad(np.ones(len(sound), np.int64), (0, 900))
    logits = outputs(stubs.infer(infer("pitches", input_values=padded[None], attention_mask=mask[None])))["logits"][0]
    shares = np.exp(logits) / np.exp(logits).sum()
    assert [alone[0][name] for name in sorted(PITCHES)] == pytest.approx(shares.tolist(), abs=1e-4)


def test_bad_sound_fails_alone_by_its_place(stubs: Stubs) -> None:
    good = samples(NEW[0][1])
    first, bad, last = stubs.predict(ask("pitches", good, {"audio": b"no sound"}, good)).predictions
    assert bad.WhichOneof("result") == "error"
    assert first.classification == last.classification
    for instance, says in (
        ({"audio": b""}, "is empty"),
        (samples(np.zeros(1, np.float32)), "expected at least 0.008125 seconds of sound"),
        ({"text": "words"}, "expected audio or tensors"),
    ):
        error = expect_error(lambda instance=instance: stubs.predict(ask("pitches", instance)))  # type: ignore[misc]
        assert (error.code, error.field, says in error.message) == ("INVALID_ARGUMENT", "instances[0]", True)


def test_wrong_jobs_are_refused_by_their_field(tuned: Tuned, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text,label\n" + "".join(f"words {i},{'ab'[i % 2]}\n" for i in range(12)))
    data = tuned.client.upload_dataset(texts)
    with pytest.raises(InvalidRequest, match="learns from sounds, and the data set holds texts"):
        tuned.client.create_job("ears", data.id, "wrong")
    with pytest.raises(InvalidRequest, match="has no meaning for this base"):
        tuned.client.check_job("ears", "wrong", method="head", hyperparameters={"rank": 4})
    with pytest.raises(NotFound):  # a result is no base, of any task
        tuned.client.create_job("pitches", data.id, "again")
    broken = tmp_path / "broken"
    for name in ("a", "b"):
        (broken / name).mkdir(parents=True)
        (broken / name / "one.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    with pytest.raises(InvalidRequest, match=r"one\.wav"):
        tuned.client.upload_dataset(broken)


def test_restarted_server_answers_as_before_and_tunes_the_next_version(tuned: Tuned) -> None:
    files = [tuned.folder / "low" / "3.ogg", tuned.folder / "high" / "4.ogg"]

    def answers() -> list[dict[str, float]]:
        found = tuned.client.predict("pitches", files, version="1")
        assert all(isinstance(one, Classification) for one in found), found
        return [{label.name: round(label.score, 4) for label in one.labels} for one in found]  # type: ignore[union-attr]

    before = answers()
    tuned.workshop.stop()
    tuned.workshop.start()
    assert answers() == before
    (data,) = [one for one in tuned.client.datasets() if one.report.examples == 2 * COUNT]
    job = tuned.client.create_job("ears", data.id, "pitches", hyperparameters={"head": "mlp"})
    tuned.workshop.succeeded(job)
    second = tuned.client.report("pitches", 2).report
    assert second["rival"]["version"] == 1, "versions on the same data are compared"
    shown = run_preloaded("predict", "pitches", files[0], "--json", "--server", tuned.workshop.server.target)
    assert json.loads(shown.stdout)["labels"][0]["name"] in PITCHES
