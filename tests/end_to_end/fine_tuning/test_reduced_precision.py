"""A fine-tuned model serves whatever its base runs in, and never keeps its base from it: digits, photos, texts, an adapter."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from service.client import Classification, Client, ModelVersion
from tests.support.end_to_end.stubs import CNN, TRANSFORMER
from tests.support.end_to_end.user_data import (
    NEW_SENTENCES,
    new_photos,
    photos_zip,
    topics_csv,
)
from tests.support.end_to_end.workshop import RestartableServer

pytestmark = [pytest.mark.weights, pytest.mark.timeout(1800)]

BF16 = {"ZOO_PRECISION": "bf16"}
DIGITS, NEW_DIGITS = 240, 40


def picture(pixels: np.ndarray) -> bytes:
    """A digit of 8 × 8 grey values, 0 to 16, enlarged to 96 × 96, as a PNG."""
    from PIL import Image

    written = io.BytesIO()
    grey = Image.fromarray((pixels / 16 * 255).astype(np.uint8))
    grey.resize((96, 96), Image.Resampling.BILINEAR).convert("RGB").save(written, "PNG")
    return written.getvalue()


def digits() -> list[tuple[str, bytes]]:
    """Class and picture of scikit-learn's digits, in its order."""
    from sklearn.datasets import load_digits

    found = load_digits()
    count = DIGITS + NEW_DIGITS
    return [(str(c), picture(i)) for i, c in zip(found.images[:count], found.target[:count], strict=True)]


def digits_zip(path: Path) -> Path:
    """A folder for each class, of the first digits."""
    with zipfile.ZipFile(path, "w") as file:
        for number, (label, data) in enumerate(digits()[:DIGITS]):
            file.writestr(f"{label}/{number}.png", data)
    return path


@dataclass
class Models:
    """What was tuned, and on which server it is."""

    workshop: RestartableServer

    @property
    def client(self) -> Client:
        return self.workshop.client

    def restart(self, **settings: str) -> None:
        self.workshop.stop()
        self.workshop.settings = settings
        self.workshop.start()

    def version(self, model: str, number: int) -> ModelVersion:
        return next(v for v in self.client.versions(model).versions if v.number == number)

    def digits_right(self, version: str = "") -> float:
        """Share of digits that were not trained on and are told right."""
        new = digits()[DIGITS:]
        answers = self.client.predict("digits", [data for _, data in new], version=version)
        return float(np.mean([_best(answer) == label for answer, (label, _) in zip(answers, new, strict=True)]))

    def photos_right(self) -> float:
        new = [(label, path) for label, paths in new_photos().items() for path in paths]
        answers = self.client.predict("photos", [path for _, path in new])
        return float(np.mean([_best(answer) == label for answer, (label, _) in zip(answers, new, strict=True)]))

    def texts_right(self, model: str) -> float:
        answers = self.client.predict(model, list(NEW_SENTENCES.values()))
        return float(np.mean([_best(a) == label for a, label in zip(answers, NEW_SENTENCES, strict=True)]))


def _best(answer: object) -> str:
    assert isinstance(answer, Classification), answer
    return answer.labels[0].name


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Four models that were tuned while their bases ran in fp32, on a server that has since been started anew in bf16."""
    folder = tmp_path_factory.mktemp("reduced")
    with RestartableServer(folder / "home") as workshop:
        client, made = workshop.client, Models(workshop)
        photos = client.upload_dataset(photos_zip(folder / "photos.zip"))
        written = client.upload_dataset(digits_zip(folder / "digits.zip"))
        topics = client.upload_dataset(topics_csv(folder / "topics.csv"))
        fewer = client.upload_dataset(topics_csv(folder / "fewer.csv", count=16))
        jobs = [
            client.create_job(CNN, written.id, "digits"),
            client.create_job(CNN, photos.id, "photos"),
            client.create_job(TRANSFORMER, topics.id, "topics"),
            client.create_job(
                TRANSFORMER, fewer.id, "adapted", method="lora", hyperparameters={"epochs": 1, "rank": 4}
            ),
        ]
        for job in jobs:
            ended = workshop.succeeded(job)
            assert "is stable" in ended.promotion_outcome, ended.promotion_outcome
        assert made.version("digits", 1).runs == "eager fp32"
        assert made.version("digits", 1).decisions == (), "fp32 is what it was trained in"
        made.restart(**BF16)
        yield made


def test_models_tuned_in_fp32_serve_on_bf16_bases(models: Models) -> None:
    for name in ("digits", "photos", "topics", "adapted"):
        version = models.version(name, 1)
        assert version.state == "READY", (name, version.state_reason)
        assert version.decisions, f"{name} was judged by its decisions"
        for found in version.decisions:
            assert found.examples >= 2
            assert found.flips is not None
            assert 0.0 <= found.flips_low <= found.flips / found.examples <= found.flips_high <= 1.0
            assert found.change_low <= found.change <= found.change_high
        if name == "adapted":
            held = not version.decisions[-1].problem
            assert (version.runs == "eager bf16") is held
        elif version.carried_by.endswith("@fp32"):
            assert version.runs == "eager fp32"
            assert version.decisions[-1].problem in version.note
        else:
            assert (version.runs, version.note) == ("eager bf16", "")
            assert not version.decisions[-1].problem


def test_base_keeps_its_precision_with_heads(models: Models) -> None:
    for base in (CNN, TRANSFORMER):
        assert models.client.model(base).precision == "bf16"


def test_predictions_on_bf16_are_as_good_as_on_fp32(models: Models) -> None:
    assert models.digits_right() >= 0.55
    assert models.photos_right() >= 0.75
    assert models.texts_right("topics") >= 0.75
    assert models.texts_right("adapted") >= 0.5


def test_report_contains_the_measurements_of_servers(models: Models) -> None:
    report = models.client.report("digits", 1)
    [served] = report.report["serving"]
    assert (served["runs"], served["metric"]) == ("eager bf16", "accuracy")
    assert served["sentence"].encode() in report.html
    assert models.client.model("digits").decisions[-1].metric == "accuracy"


def test_canary_tuned_on_bf16_base_serves_on_it_and_on_fp32_after_restart(models: Models) -> None:
    data = models.version("digits", 1).lineage
    assert data is not None
    job = models.client.create_job(CNN, data.dataset_id, "digits", seed=1, promote=False)
    assert models.workshop.succeeded(job).version == 2
    assert models.version("digits", 2).state == "READY"
    models.client.set_canary("digits", 2, 0.5)
    some = [data for _, data in digits()[DIGITS:]]
    assert {answer.version for answer in models.client.predict("digits", some[:1])} <= {1, 2}
    assert models.digits_right("2") >= 0.55

    models.restart()
    traffic = models.client.versions("digits").traffic
    assert (traffic.stable, traffic.canary, traffic.canary_share) == (1, 2, 0.5)
    for name, number in (("digits", 1), ("digits", 2), ("photos", 1), ("topics", 1), ("adapted", 1)):
        version = models.version(name, number)
        assert (version.state, version.runs, version.note) == ("READY", "eager fp32", ""), name
    assert models.digits_right("2") >= 0.55, "its golden items are fp32's, though its features were computed in bf16"
    assert models.digits_right("1") >= 0.55
