"""From a user's data to an answer: a CNN, a Transformer and an RNN tuned on real photos and texts, called by their new names."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.recipes import ImageRecipe
from model_zoo.catalog import Catalog
from service.client import Classification, JobProgress, MetricValue, Tensors, ZooClientError
from service.tasks.image.image_input import ImageReader
from tests.support.end_to_end.components import find_command
from tests.support.end_to_end.server_process import EXAMPLES, run_zoo, until
from tests.support.end_to_end.stubs import (
    CNN,
    TRANSFORMER,
    Scrape,
    assert_leaks_nothing,
)
from tests.support.end_to_end.user_data import (
    NEW_SENTENCES,
    PHOTO_CLASSES,
    STYLED,
    STYLES,
    TOPICS,
    new_photos,
    photos_zip,
    texts,
    topics_csv,
)
from tests.support.end_to_end.workshop import TunedModels, Watcher

LABELS = {"pets": set(PHOTO_CLASSES), "topics": set(TOPICS), "styles": set(STYLES)}
BASES = {"pets": CNN, "topics": TRANSFORMER, "styles": "char_lstm"}


def best(results: Sequence[Any]) -> list[str]:
    """The best label of each answer."""
    assert all(isinstance(result, Classification) for result in results), results
    return [result.labels[0].name for result in results]


def share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


# ── what comes of it ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", LABELS)
def test_tuned_version_of_each_family_serves_and_beats_its_baseline(made: TunedModels, name: str) -> None:
    job = made.jobs[name]
    assert (job.state, job.version, job.method) == ("SUCCEEDED", 1, "head")
    assert job.promotion_outcome.startswith("version 1 is stable: accuracy ")
    model = made.client.model(name)
    assert (model.state, model.versions, model.base) == ("READY", (1,), BASES[name]) or name == "topics"
    assert set(model.labels) == LABELS[name]
    [version] = [v for v in made.client.versions(name).versions if v.number == 1]
    assert version.lineage is not None
    assert version.lineage.metrics["accuracy"] > version.lineage.baseline_metrics["accuracy"]


@pytest.mark.parametrize("name", LABELS)
def test_lineage_names_base_dataset_and_method(made: TunedModels, name: str) -> None:
    [version] = [v for v in made.client.versions(name).versions if v.number == 1]
    lineage, data = version.lineage, made.data[name]
    assert lineage is not None
    assert (lineage.base, lineage.dataset_id, lineage.dataset_sha256) == (BASES[name], data.id, data.sha256)
    assert (lineage.job_id, lineage.method, lineage.seed) == (made.jobs[name].id, "head", 0)
    assert len(lineage.base_sha256) == 64
    assert lineage.zoo_version
    assert lineage.hyperparameters["head"] == "linear"


def test_report_has_metrics_with_intervals_and_an_html_page(made: TunedModels) -> None:
    report = made.client.report("pets", 1)
    accuracy = report.report["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert set(report.report["confusion"]["labels"]) == LABELS["pets"]
    page = report.html.decode()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert all(label in page for label in LABELS["pets"])
    assert "<svg" in page
    assert not re.search(r"""(src|href)=["']?(?!data:|#)""", page), "the page needs nothing from elsewhere"


# ── called by name ────────────────────────────────────────────────────────────────────────────────────────────────


def test_new_photos_get_the_classes_of_the_dataset(made: TunedModels) -> None:
    photos = [(label, path) for label, paths in new_photos().items() for path in paths]
    told = best(made.client.predict("pets", [path for _, path in photos]))
    assert share([label == said for (label, _), said in zip(photos, told, strict=True)]) >= 0.9


def test_new_sentences_get_their_topic(made: TunedModels) -> None:
    told = best(made.client.predict("topics", list(NEW_SENTENCES.values()), version="1"))
    assert told == list(NEW_SENTENCES)


def test_new_texts_get_their_style(made: TunedModels) -> None:
    unseen = [(style, text) for style in STYLES for text in texts(style)[STYLED : STYLED + 20]]
    told = best(made.client.predict("styles", [text for _, text in unseen]))
    assert share([style == said for (style, _), said in zip(unseen, told, strict=True)]) >= 0.7


def test_shell_calls_the_tuned_model_and_lists_its_versions(made: TunedModels) -> None:
    photo = new_photos()["birds"][0]
    done = run_zoo("predict", "pets", photo, "--json", "--server", made.server.target)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"][0]["name"] == "birds"
    done = run_zoo("versions", "pets", "--server", made.server.target)
    assert done.stdout.splitlines()[1].split()[:4] == ["1", "stable", "READY", CNN]


def test_concurrent_calls_of_two_heads_and_their_base_get_their_own_labels(made: TunedModels) -> None:
    """Pictures for a tuned CNN and for its base ride through the same network; so do texts."""
    client = made.client
    imagenet = set(client.model(CNN).labels)
    photo, sentence = EXAMPLES / "cat.jpg", NEW_SENTENCES["food"]

    def pets() -> bool:
        [answer] = client.predict("pets", photo)
        return answer.model == "pets" and {label.name for label in answer.labels} <= LABELS["pets"]

    def base() -> bool:
        [answer] = client.predict(CNN, photo)
        return answer.model == CNN and "cat" in best([answer])[0] and best([answer])[0] in imagenet

    def topics() -> bool:
        [answer] = client.predict("topics", sentence, version="1")
        return best([answer]) == ["food"]

    def vectors() -> bool:
        [answer] = client.predict(TRANSFORMER, sentence)
        return len(answer.values) == 384

    def styles() -> bool:
        [answer] = client.predict("styles", sentence)
        return {label.name for label in answer.labels} == LABELS["styles"]

    with ThreadPoolExecutor(10) as callers:
        calls = [callers.submit(call) for _ in range(10) for call in (pets, base, topics, vectors, styles)]
        assert all(call.result() for call in calls)


def test_head_uses_no_memory_for_a_second_network(made: TunedModels) -> None:
    [version] = [v for v in made.client.versions("pets").versions if v.number == 1]
    assert 0 < version.memory_bytes < 1_000_000
    assert made.client.model(CNN).memory_bytes > 10_000_000


def test_full_and_lora_versions_serve_like_heads(made: TunedModels, tmp_path: Path) -> None:
    """One epoch on a few examples each: enough to serve, not to be good."""
    client, briefly = made.client, {"hyperparameters": {"epochs": 1}, "promote": False}
    photos = client.upload_dataset(photos_zip(tmp_path / "few.zip", count=5))
    sentences = client.upload_dataset(topics_csv(tmp_path / "few.csv", count=8))
    full = client.create_job(CNN, photos.id, "pets_whole", method="full", **briefly)
    lora = client.create_job(TRANSFORMER, sentences.id, "topics_lora", method="lora", **briefly)
    for job, what, name in ((full, EXAMPLES / "cat.jpg", "pets"), (lora, NEW_SENTENCES["food"], "topics")):
        assert made.workshop.succeeded(job).version == 1
        with pytest.raises(ZooClientError) as nowhere:
            client.predict(job.model, what)
        assert_leaks_nothing(nowhere.value.message)
        [answer] = client.predict(job.model, what, version="1")
        assert {label.name for label in answer.labels} == LABELS[name]
        assert sum(label.score for label in answer.labels) == pytest.approx(1, abs=1e-3)
    [version] = client.versions("topics_lora").versions
    assert version.size_bytes < client.model(TRANSFORMER).weights_bytes / 10
    [version] = client.versions("pets_whole").versions
    assert version.size_bytes > client.model(CNN).weights_bytes / 2


# ── what can be seen from outside ─────────────────────────────────────────────────────────────────────────────────


def test_metrics_show_a_running_job_and_its_end(made: TunedModels) -> None:
    before = Scrape(made.server)
    assert before.value("zoo_jobs", state="succeeded") >= 3
    slow = {"epochs": 10_000, "patience": 0, "checkpoint_steps": 50}
    job = made.client.create_job("tabular_mlp", made.data["flats"].id, "seen", hyperparameters=slow)
    watcher = Watcher(made.client, job)
    watcher.until(lambda e: isinstance(e.what, JobProgress) and e.what.epoch > 1, "progress")
    watcher.until(lambda e: isinstance(e.what, MetricValue) and e.what.split == "validation", "metric")
    during = Scrape(made.server)
    assert 0 < during.value("zoo_job_progress_ratio", job=job.id, model="seen") < 1
    assert during.value("zoo_job_metric", job=job.id, metric="loss", split="validation") > 0
    running = before.value("zoo_jobs", state="running") + 1
    until(lambda: Scrape(made.server).value("zoo_jobs", state="running") == running, "its state to be counted")
    assert made.client.cancel_job(job.id).state in ("CANCELLING", "CANCELLED")
    watcher.end()
    assert watcher.states[-1] == "CANCELLED"
    cancelled = before.value("zoo_jobs", state="cancelled") + 1
    until(lambda: Scrape(made.server).value("zoo_jobs", state="cancelled") == cancelled, "its end to be counted")
    after = Scrape(made.server)
    assert not any(sample.labels.get("job") == job.id for f in after.families.values() for sample in f.samples)
    assert not (made.workshop.home / "versions" / "seen").exists()


@pytest.mark.component
def test_promtool_accepts_the_metrics_of_jobs_and_versions(made: TunedModels) -> None:
    promtool = find_command("promtool", None, "the apt package prometheus")
    job = made.client.create_job("tabular_mlp", made.data["flats"].id, "checked", hyperparameters={"epochs": 10_000})
    Watcher(made.client, job).until(lambda e: isinstance(e.what, MetricValue), "metric")
    page = made.server.get("/metrics")
    assert "zoo_job_metric{" in page
    ended = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    made.client.cancel_job(job.id)


def test_calls_are_counted_by_version(made: TunedModels) -> None:
    before = Scrape(made.server).value("zoo_requests_total", model="pets", version="1")
    made.client.predict("pets", EXAMPLES / "cat.jpg")
    assert Scrape(made.server).value("zoo_requests_total", model="pets", version="1") == before + 1


def test_resumed_watch_sends_only_later_events(made: TunedModels) -> None:
    job = made.jobs["pets"]
    events = list(made.client.watch_job(job.id))
    assert [event.sequence for event in events] == list(range(1, job.last_event + 1))
    assert [event.sequence for event in made.client.watch_job(job.id, after=job.last_event - 2)] == [
        job.last_event - 1,
        job.last_event,
    ]
    assert events[-1].job == job
    assert list(made.client.watch_job(job.id, after=job.last_event)) == []


def test_job_writes_tensorboard_files(made: TunedModels) -> None:
    for job in made.jobs.values():
        assert list((made.workshop.home / "jobs" / job.id / "tensorboard").glob("events.out.tfevents.*"))


def test_repeated_upload_gives_the_same_dataset(made: TunedModels, tmp_path: Path) -> None:
    again = made.client.upload_dataset(topics_csv(tmp_path / "topics.csv"))
    assert (again.id, again.existed) == (made.data["topics"].id, True)
    assert sum(dataset.id == again.id for dataset in made.client.datasets()) == 1


def test_tuned_head_takes_pixels_as_its_base_does(made: TunedModels) -> None:
    images = np.random.default_rng(7).integers(0, 256, (4, 224, 224, 3), np.uint8)
    recipe = Catalog.from_package().get(CNN).recipe
    assert isinstance(recipe, ImageRecipe)
    reader = ImageReader(recipe)
    rows: list[Any] = [{"pixels": image} for image in images]
    rows += [{"pixel_values": reader.normalise(Image.fromarray(image))} for image in images]
    for model, classes in (("pets", len(PHOTO_CLASSES)), (CNN, 1000)):
        results = made.client.predict(model, rows)
        assert all(isinstance(result, Tensors) for result in results), results
        logits = np.stack(
            [np.asarray(result.tensors["logits"], np.float32) for result in results if isinstance(result, Tensors)]
        )
        assert logits.shape == (8, classes)
        np.testing.assert_allclose(logits[:4], logits[4:], rtol=0, atol=1e-3)
