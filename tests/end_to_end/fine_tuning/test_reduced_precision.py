"""A fine-tuned model serves whatever its base runs in, and never keeps its base from it: photos, texts, an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from service.client import Classification, Client, ModelVersion
from tests.support.end_to_end.stubs import CNN, TRANSFORMER
from tests.support.end_to_end.user_data import NEW_SENTENCES, new_photos, topics_csv
from tests.support.end_to_end.workshop import RestartableServer, TunedModels

pytestmark = [pytest.mark.weights, pytest.mark.timeout(1800)]

BF16 = {"ZOO_PRECISION": "bf16"}


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

    def photos_right(self, version: str = "") -> float:
        """Share of photos that were not trained on and get their class."""
        new = [(label, path) for label, paths in new_photos().items() for path in paths]
        answers = self.client.predict("photos", [path for _, path in new], version=version)
        return float(np.mean([_best(answer) == label for answer, (label, _) in zip(answers, new, strict=True)]))

    def texts_right(self, model: str) -> float:
        answers = self.client.predict(model, list(NEW_SENTENCES.values()))
        return float(np.mean([_best(a) == label for a, label in zip(answers, NEW_SENTENCES, strict=True)]))


def _best(answer: object) -> str:
    assert isinstance(answer, Classification), answer
    return answer.labels[0].name


@pytest.fixture(scope="module")
def models(made: TunedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Three models that were tuned while their bases ran in fp32, on a server that has since been restarted in bf16."""
    workshop, client = made.workshop, made.client
    fewer = client.upload_dataset(topics_csv(tmp_path_factory.mktemp("reduced") / "fewer.csv", count=16))
    jobs = [
        client.create_job(CNN, made.data["pets"].id, "photos"),
        client.create_job(TRANSFORMER, made.data["topics"].id, "sentences"),
        client.create_job(TRANSFORMER, fewer.id, "adapted", method="lora", hyperparameters={"epochs": 1, "rank": 4}),
    ]
    for job in jobs:
        ended = workshop.succeeded(job)
        assert "is stable" in ended.promotion_outcome, ended.promotion_outcome
    models, before = Models(workshop), workshop.settings
    assert models.version("photos", 1).runs == "eager fp32"
    assert models.version("photos", 1).decisions == (), "fp32 is what it was trained in"
    models.restart(**BF16)
    yield models
    models.restart(**before)


def test_models_tuned_in_fp32_serve_on_bf16_bases(models: Models) -> None:
    for name in ("photos", "sentences", "adapted"):
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
    assert models.photos_right() >= 0.75
    assert models.texts_right("sentences") >= 0.75
    assert models.texts_right("adapted") >= 0.5


def test_report_contains_the_measurements_of_servers(models: Models) -> None:
    report = models.client.report("photos", 1)
    [served] = report.report["serving"]
    assert (served["runs"], served["metric"]) == ("eager bf16", "accuracy")
    assert served["sentence"].encode() in report.html
    assert models.client.model("photos").decisions[-1].metric == "accuracy"


def test_canary_tuned_on_bf16_base_serves_on_it_and_on_fp32_after_restart(models: Models) -> None:
    data = models.version("photos", 1).lineage
    assert data is not None
    job = models.client.create_job(CNN, data.dataset_id, "photos", seed=1, promote=False)
    assert models.workshop.succeeded(job).version == 2
    assert models.version("photos", 2).state == "READY"
    models.client.set_canary("photos", 2, 0.5)
    [photo, *_] = new_photos()["birds"]
    assert {answer.version for answer in models.client.predict("photos", photo)} <= {1, 2}
    assert models.photos_right("2") >= 0.75

    models.restart()
    traffic = models.client.versions("photos").traffic
    assert (traffic.stable, traffic.canary, traffic.canary_share) == (1, 2, 0.5)
    for name, number in (("photos", 1), ("photos", 2), ("sentences", 1), ("adapted", 1)):
        version = models.version(name, number)
        assert (version.state, version.runs, version.note) == ("READY", "eager fp32", ""), name
    assert models.photos_right("2") >= 0.75, "its golden items are fp32's, though its features were computed in bf16"
    assert models.photos_right("1") >= 0.75
