"""What is measured of fine-tuning. Each scenario gives its figures and a summary of ratios."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.finetune.folds import photo_folds, text_folds
from benchmarks.finetune.homes import zoo_home
from benchmarks.peers.zoo import Zoo
from benchmarks.processes import ROOT, Process
from examples.fetch_data import TOPICS, make_photos, make_texts
from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.client import Client
from service.client.jobs import JobEvent, JobProgress, MetricValue, StateChanged
from service.datasets.examples import open_dataset
from service.datasets.splits import split
from service.pb import open_inference_pb2 as pb
from service.training.feature_cache import FeatureCache, features_folder

CNN, TRANSFORMER = "efficientnet_lite0", "all_minilm_l6_v2"
FOLDS = ROOT / ".cache" / "folds"
HEADS = 100
EPOCHS = 10
FULL_EPOCHS = 3
CALLERS = 32

Figures = dict[str, Any]
Start = Callable[..., AbstractContextManager[Zoo]]


def weights_of(name: str) -> Path:
    """A base's safetensors."""
    found = Store(zoo_home()).find(Catalog.from_package().get(name))
    if found is None:
        raise SystemExit(f"the weights of {name} are not here; run `zoo pull {name}`")
    return found.weights


def timed(*command: str | Path) -> tuple[dict[str, Any], float]:
    """The last JSON line that a command prints, and the seconds from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]), seconds


def finetune(zoo: Zoo, base: str, data: Path, name: str, *arguments: str) -> tuple[dict[str, Any], float]:
    """`zoo finetune` as a user runs it: the job at its end, and the seconds of the whole command."""
    command = Path(sys.executable).with_name("zoo")
    options = ["--name", name, "--server", zoo.target, "--json", *arguments]
    return timed(command, "finetune", base, data, *options)


def plain(data: Path, epochs: int, *arguments: str) -> tuple[dict[str, Any], float]:
    """The plain script on the same data."""
    options: list[str | Path] = ["--weights", weights_of(CNN), "--data", data, "--epochs", str(epochs), *arguments]
    return timed(sys.executable, "-m", "benchmarks.finetune.plain", *options)


def accuracy(zoo: Zoo, name: str) -> float:
    """On the held-out data, as the version's report has it."""
    with Client(zoo.target) as client:
        return float(client.versions(name).versions[0].lineage.metrics["accuracy"])  # type: ignore[union-attr]


# ── the head ──────────────────────────────────────────────────────────────────────────────────────────────────────


def head(start: Start, rounds: int, seconds: float) -> Figures:
    """A head on photos, from the command to the version in service, beside a plain loop of ten epochs over a frozen backbone."""
    folds = photo_folds(make_photos(), FOLDS)
    found: list[Figures] = []
    with start([CNN]) as zoo:
        for number, fold in enumerate(folds[: max(rounds, 1)]):
            name = f"photos_{number}"
            _, ours_s = finetune(zoo, CNN, fold, name, "--method", "head")
            script, script_s = plain(fold, EPOCHS)
            found.append(
                {
                    "zoo_s": ours_s,
                    "zoo_accuracy": accuracy(zoo, name),
                    "plain_s": script_s,
                    "plain_accuracy": script["accuracy"],
                }
            )
    return {"rounds": found, "summary": _head_summary(found)}


def _head_summary(found: list[Figures]) -> Figures:
    return {
        "times as fast, end to end": statistics.median(f["plain_s"] / f["zoo_s"] for f in found),
        "zoo seconds": statistics.median(f["zoo_s"] for f in found),
        "accuracy": statistics.mean(f["zoo_accuracy"] for f in found),
        "accuracy of the plain script": statistics.mean(f["plain_accuracy"] for f in found),
    }


def _cross_validated(start: Start, base: str, folds: list[Path], stem: str) -> Figures:
    """Every fold through the product, and scikit-learn's logistic regression on the same features."""
    found = []
    with start([base]) as zoo:
        for number, fold in enumerate(folds):
            done, took = finetune(zoo, base, fold, f"{stem}_{number}", "--method", "head")
            scikit, scikit_s = scikit_learn(zoo.home, base, done["result"]["dataset_id"])
            found.append(
                {
                    "zoo_accuracy": accuracy(zoo, f"{stem}_{number}"),
                    "seconds": took,
                    "scikit_accuracy": scikit,
                    "scikit_seconds": scikit_s,
                }
            )
    return {
        "folds": found,
        "summary": {
            "accuracy, mean of five folds": statistics.mean(f["zoo_accuracy"] for f in found),
            "scikit-learn on the same features": statistics.mean(f["scikit_accuracy"] for f in found),
            "seconds of a fold": statistics.median(f["seconds"] for f in found),
        },
    }


def scikit_learn(home: Path, base: str, dataset_id: str) -> tuple[float, float]:
    """Accuracy of logistic regression on the features that the job has left, its penalty chosen on the same validation data, and
    the seconds it took to fit."""
    examples = open_dataset(home, dataset_id)
    store = Store(home).find(Catalog.from_package().get(base))
    assert store is not None
    features, ok, _ = FeatureCache(features_folder(home, store.digest, dataset_id), len(examples)).read()
    assert features is not None
    assert ok.all()
    targets = np.array([examples[i].target for i in range(len(examples))])
    parts = {name: list(indices) for name, indices in split(examples, 0).items()}
    began = time.perf_counter()
    scaled = StandardScaler().fit(features[parts["train"]]).transform(features)

    def fitted(penalty: float) -> LogisticRegression:
        made = LogisticRegression(C=penalty, max_iter=1000)
        return made.fit(scaled[parts["train"]], targets[parts["train"]])

    def score(made: LogisticRegression, name: str) -> float:
        return float(made.score(scaled[parts[name]], targets[parts[name]]))

    best = max((fitted(10.0**power) for power in range(-4, 2)), key=lambda made: score(made, "validation"))
    return score(best, "test"), time.perf_counter() - began


def photos(start: Start, rounds: int, seconds: float) -> Figures:
    """Five folds of the photos."""
    return _cross_validated(start, CNN, photo_folds(make_photos(), FOLDS), "photos")


def topics(start: Start, rounds: int, seconds: float) -> Figures:
    """Five folds of the texts."""
    return _cross_validated(start, TRANSFORMER, text_folds(make_texts("topics.csv", TOPICS), FOLDS), "topics")


# ── all weights ───────────────────────────────────────────────────────────────────────────────────────────────────


def full(start: Start, rounds: int, seconds: float) -> Figures:
    """All weights on photos: seconds of an epoch and accuracy, beside the plain script with the same epochs and threads."""
    fold = photo_folds(make_photos(), FOLDS)[0]
    found: list[Figures] = []
    with start([CNN], settle=True) as zoo, Client(zoo.target) as client:
        dataset = client.upload_dataset(fold)
        for number in range(rounds):
            name, ends = f"full_{number}", _Epochs()
            settings = {"epochs": FULL_EPOCHS, "batch_size": 16}
            client.finetune(CNN, dataset, name, method="full", hyperparameters=settings, seed=number, on_event=ends)
            script, _ = plain(fold, FULL_EPOCHS, "--full", "--threads", "1")
            found.append(
                {
                    "zoo_epoch_s": ends.seconds(),
                    "zoo_accuracy": accuracy(zoo, name),
                    "plain_epoch_s": script["epoch_s"],
                    "plain_accuracy": script["accuracy"],
                }
            )
    ratios = [statistics.median(f["zoo_epoch_s"]) / statistics.median(f["plain_epoch_s"]) for f in found]
    return {
        "rounds": found,
        "summary": {
            "seconds of an epoch ÷ plain script": statistics.median(ratios),
            "accuracy": statistics.mean(f["zoo_accuracy"] for f in found),
            "accuracy of the plain script": statistics.mean(f["plain_accuracy"] for f in found),
        },
    }


class _Epochs:
    """Collects when a job's epochs began and ended, by the server's clock; the measuring of validation data is not counted."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}

    def __call__(self, event: JobEvent) -> None:
        """See `Client.finetune`."""
        what = event.what
        epoch = what.epoch if isinstance(what, JobProgress | MetricValue) else 0
        training = isinstance(what, JobProgress) and what.phase == "training"
        if epoch and event.time is not None and (training or getattr(what, "split", "") == "train"):
            at = event.time.timestamp()
            self._first.setdefault(epoch, at)
            self._last[epoch] = at

    def seconds(self) -> list[float]:
        """Of each epoch: from the first sign of it to the last."""
        return [self._last[e] - self._first[e] for e in sorted(self._last) if self._last[e] > self._first[e]]


# ── many heads ────────────────────────────────────────────────────────────────────────────────────────────────────


def heads(start: Start, rounds: int, seconds: float) -> Figures:
    """A hundred heads on one backbone, called in turn by 32 callers, beside the base alone called by as many."""
    from benchmarks.finetune.copies import copy_version

    fold = photo_folds(make_photos(), FOLDS)[0]
    found: list[Figures] = []
    with tempfile_version(start, fold) as version:
        names = [f"head_{number}" for number in range(HEADS)]

        def prepare(home: Path) -> None:
            for name in names:
                copy_version(version, home, name)

        with start([CNN]) as alone, start([CNN], prepare=prepare) as many:
            with Client(many.target) as sdk:
                for name in names:
                    sdk.promote(name, 1)
            with Process([sys.executable, "-m", "benchmarks.client"]) as client:
                keep(client, "alone", [tensor_message(CNN)])
                keep(client, "many", [tensor_message(name) for name in names])
                for _ in range(rounds):
                    turn = {}
                    for key, server in (("alone", alone), ("many", many)):
                        other = many if server is alone else alone
                        other.pause()
                        order = {"kind": "closed", "protocol": "grpc", "target": server.target, "seconds": seconds}
                        client.ask({**order, "groups": [[key, CALLERS]], "seconds": 1.0})
                        turn[key] = client.ask({**order, "groups": [[key, CALLERS]]})
                        other.resume()
                    found.append({key: {k: f[k] for k in ("calls_s", "p99_ms", "errors")} for key, f in turn.items()})
            memory = {"alone_mib": alone.pss_mib(), "many_mib": many.pss_mib()}
    return {
        "rounds": found,
        "memory": memory,
        "summary": {
            "calls/s of 100 heads ÷ the base": statistics.median(
                f["many"]["calls_s"] / f["alone"]["calls_s"] for f in found
            ),
            "memory of 100 heads ÷ the base": memory["many_mib"] / memory["alone_mib"],
            "errors": sum(sum(f["many"]["errors"].values()) for f in found),
        },
    }


def tempfile_version(start: Start, data: Path) -> AbstractContextManager[Path]:
    """The folder of a version that was tuned by `head`, for as long as the block lasts."""
    from contextlib import contextmanager

    @contextmanager
    def made() -> Any:
        with start([CNN], settle=False) as zoo:
            finetune(zoo, CNN, data, "original", "--method", "head")
            yield zoo.home / "versions" / "original" / "1"

    return made()


def tensor_message(model: str) -> bytes:
    """A call with the CNN's tensor, seeded."""
    values = np.random.default_rng(5).standard_normal((1, 3, 224, 224), np.float32)
    card = Catalog.from_package().get(CNN)
    request = pb.ModelInferRequest(model_name=model)
    spec = card.signature.inputs[0]
    request.inputs.add(name=spec.name, datatype=spec.datatype, shape=values.shape)
    request.raw_input_contents.append(values.tobytes())
    return request.SerializeToString()


def keep(client: Process, key: str, messages: list[bytes]) -> None:
    """Hands messages to the load client under a name."""
    client.ask({"kind": "keep", "key": key, "messages": [base64.b64encode(m).decode() for m in messages]})


# ── beside a job ──────────────────────────────────────────────────────────────────────────────────────────────────


def beside(start: Start, rounds: int, seconds: float) -> Figures:
    """p99 of a steady load (Poisson, about a third of capacity) with and without a job that trains all weights beside it."""
    fold = photo_folds(make_photos(), FOLDS)[0]
    found: list[Figures] = []
    with start([CNN]) as zoo, Client(zoo.target) as sdk:
        dataset = sdk.upload_dataset(fold)
        with Process([sys.executable, "-m", "benchmarks.client"]) as client:
            keep(client, "cnn", [tensor_message(CNN)])
            closed = {"kind": "closed", "protocol": "grpc", "target": zoo.target, "groups": [["cnn", CALLERS]]}
            capacity = client.ask({**closed, "seconds": seconds})["calls_s"]
            about = {"kind": "open", "protocol": "grpc", "target": zoo.target, "messages": "cnn", "deadline_ms": 5000.0}
            for number in range(rounds):
                load = {**about, "rate": capacity / 3, "seconds": 2 * seconds, "seed": number}
                without = client.ask(load)
                job = sdk.create_job(
                    CNN, dataset.id, "beside", method="full", hyperparameters={"epochs": 100}, seed=number
                )
                _until_training(sdk, job.id)
                during = client.ask(load)
                state = sdk.job(job.id)
                sdk.cancel_job(job.id)
                for _ in sdk.watch_job(job.id):
                    pass
                found.append(
                    {
                        "without": {k: without[k] for k in ("p50_ms", "p99_ms", "good_share")},
                        "with": {k: during[k] for k in ("p50_ms", "p99_ms", "good_share")},
                        "job": {"state": state.state, "step": state.progress.step},
                    }
                )
    return {
        "rounds": found,
        "summary": {
            "p99 beside a job ÷ without": statistics.median(
                f["with"]["p99_ms"] / f["without"]["p99_ms"] for f in found
            ),
            "p50 beside a job ÷ without": statistics.median(
                f["with"]["p50_ms"] / f["without"]["p50_ms"] for f in found
            ),
        },
    }


def _until_training(sdk: Client, job_id: str) -> None:
    for event in sdk.watch_job(job_id):
        if isinstance(event.what, JobProgress) and event.what.phase == "training" and event.what.step > 0:
            return
        if isinstance(event.what, StateChanged) and event.what.state in ("FAILED", "CANCELLED"):
            raise SystemExit(f"the job ended early: {event.what.reason}")


# ── from the end of a job to the first answer ─────────────────────────────────────────────────────────────────────


def live(start: Start, rounds: int, seconds: float) -> Figures:
    """Seconds from the end of a job's worker to the first answer of the new version to a caller who watches the job."""
    fold = photo_folds(make_photos(), FOLDS)[0]
    photo = next((fold / "test").rglob("*.png"))
    found = []
    with start([CNN]) as zoo, Client(zoo.target) as sdk:
        dataset = sdk.upload_dataset(fold)
        for number in range(rounds):
            name = f"live_{number}"
            job = sdk.create_job(CNN, dataset.id, name, method="head", seed=number)
            finished = 0.0
            for event in sdk.watch_job(job.id):
                # So much is said by the server at the moment at which the worker has finished.
                published = isinstance(event.what, JobProgress) and event.what.ratio >= 0.99
                if published and event.time is not None and not finished:
                    finished = event.time.timestamp()
            sdk.predict(name, photo)
            found.append(time.time() - finished)
    return {"seconds": found, "summary": {"seconds from the worker's end to an answer": statistics.median(found)}}


ALL: dict[str, Callable[[Start, int, float], Figures]] = {
    "head": head,
    "photos": photos,
    "topics": topics,
    "full": full,
    "heads": heads,
    "beside": beside,
    "live": live,
}
