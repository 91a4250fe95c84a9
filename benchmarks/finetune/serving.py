"""Scenarios of serving fine-tuned models: many models, calls beside a running job, and the time to the first answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.finetune.common import CALLERS, CNN, FOLDS, HEADS, Figures, Start, finetune, summary
from benchmarks.finetune.copies import copy_version
from benchmarks.finetune.folds import photo_folds
from benchmarks.measurement.testbed import store_messages
from benchmarks.participants.process import start_module
from benchmarks.participants.zoo import EAGER, Zoo
from examples.fetch_data import make_photos
from model_zoo.catalog import Catalog
from service.client import Client
from service.client.jobs import JobProgress, StateChanged
from service.pb import open_inference_pb2 as pb

# ── many models ───────────────────────────────────────────────────────────────────────────────────────────────────


def heads(start: Start, rounds: int, seconds: float) -> Figures:
    """A hundred heads on one backbone, called in rotation by 32 callers, beside the base alone with as many callers."""
    with start([CNN]) as alone, _many(start, "head", {}) as (many, names):
        found = _alternate({"alone": (alone, [CNN]), "many": (many, names)}, rounds, seconds)
        memory = {"alone_mib": alone.pss_mib(), "many_mib": many.pss_mib()}
    return summary(
        found,
        {
            "calls/s of 100 heads ÷ the base": [f["many"]["calls_s"] / f["alone"]["calls_s"] for f in found],
            "memory of 100 heads ÷ the base": [memory["many_mib"] / memory["alone_mib"]],
            "errors": [sum(f["many"]["errors"].values()) for f in found],
        },
        memory=memory,
    )


def separate(start: Start, rounds: int, seconds: float) -> Figures:
    """A hundred heads on one backbone beside a hundred models with all weights of their own, called in rotation; eager, since the
    compilation of a hundred networks takes an hour."""
    with (
        _many(start, "head", EAGER) as (heads_, head_names),
        _many(start, "full", EAGER) as (models, model_names),
    ):
        found = _alternate({"heads": (heads_, head_names), "separate": (models, model_names)}, rounds, seconds)
        memory = {"heads_mib": heads_.pss_mib(), "separate_mib": models.pss_mib()}
    return summary(
        found,
        {
            "calls/s of 100 heads ÷ 100 models": [f["heads"]["calls_s"] / f["separate"]["calls_s"] for f in found],
            "memory of 100 heads ÷ 100 models": [memory["heads_mib"] / memory["separate_mib"]],
            "errors": [sum(f["separate"]["errors"].values()) for f in found],
        },
        memory=memory,
    )


@contextmanager
def _many(start: Start, method: str, settings: dict[str, str]) -> Iterator[tuple[Zoo, list[str]]]:
    """A server with a hundred models that one method has fine-tuned, all loaded, and their names."""
    names = [f"{method}_{number}" for number in range(HEADS)]
    with _tuned(start, method) as version:

        def prepare(home: Path) -> None:
            for name in names:
                copy_version(version, home, name)

        with start([CNN], prepare=prepare, settings=settings) as server:
            with Client(server.target) as sdk:
                for name in names:
                    sdk.promote(name, 1)
            yield server, names


@contextmanager
def _tuned(start: Start, method: str) -> Iterator[Path]:
    """The folder of one version, until the block ends."""
    fold = photo_folds(make_photos(), FOLDS)[0]
    short = ["--set", "epochs=1"] if method == "full" else []
    with start([CNN], settle=False) as zoo:
        finetune(zoo, CNN, fold, "original", "--method", method, *short)
        yield zoo.home / "versions" / "original" / "1"


def _alternate(servers: dict[str, tuple[Zoo, list[str]]], rounds: int, seconds: float) -> list[Figures]:
    """Rounds of a closed loop against each server, while the others are paused."""
    found: list[Figures] = []
    with start_module("load.client") as client:
        for key, (_, names) in servers.items():
            store_messages(client, key, [tensor_message(name) for name in names])
        for _ in range(rounds):
            figures = {}
            for key, (server, _) in servers.items():
                others = [other for other, _ in servers.values() if other is not server]
                for other in others:
                    other.pause()
                command = {"kind": "closed", "protocol": "grpc", "target": server.target, "seconds": seconds}
                client.ask({**command, "groups": [[key, CALLERS]], "seconds": 1.0})
                figures[key] = client.ask({**command, "groups": [[key, CALLERS]]})
                for other in others:
                    other.resume()
            found.append({key: {k: f[k] for k in ("calls_s", "p99_ms", "errors")} for key, f in figures.items()})
    return found


def tensor_message(model: str) -> bytes:
    """A call with the CNN's tensor, seeded."""
    values = np.random.default_rng(5).standard_normal((1, 3, 224, 224), np.float32)
    card = Catalog.from_package().get(CNN)
    request = pb.ModelInferRequest(model_name=model)
    spec = card.signature.inputs[0]
    request.inputs.add(name=spec.name, datatype=spec.datatype, shape=values.shape)
    request.raw_input_contents.append(values.tobytes())
    return request.SerializeToString()


# ── beside a job ──────────────────────────────────────────────────────────────────────────────────────────────────


def beside(start: Start, rounds: int, seconds: float) -> Figures:
    """p99 of a steady load (Poisson, about a third of the capacity) with and without a concurrent job that trains all weights."""
    fold = photo_folds(make_photos(), FOLDS)[0]
    found: list[Figures] = []
    with start([CNN]) as zoo, Client(zoo.target) as sdk:
        dataset = sdk.upload_dataset(fold)
        with start_module("load.client") as client:
            store_messages(client, "cnn", [tensor_message(CNN)])
            closed = {"kind": "closed", "protocol": "grpc", "target": zoo.target, "groups": [["cnn", CALLERS]]}
            capacity = client.ask({**closed, "seconds": seconds})["calls_s"]
            common = {
                "kind": "open",
                "protocol": "grpc",
                "target": zoo.target,
                "messages": "cnn",
                "deadline_ms": 5000.0,
            }
            for number in range(rounds):
                load = {**common, "rate": capacity / 3, "seconds": 2 * seconds, "seed": number}
                without = client.ask(load)
                job = sdk.create_job(
                    CNN, dataset.id, "beside", method="full", hyperparameters={"epochs": 100}, seed=number
                )
                _wait_until_training(sdk, job.id)
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
    return summary(
        found,
        {
            "p99 beside a job ÷ without": [f["with"]["p99_ms"] / f["without"]["p99_ms"] for f in found],
            "p50 beside a job ÷ without": [f["with"]["p50_ms"] / f["without"]["p50_ms"] for f in found],
        },
    )


def _wait_until_training(sdk: Client, job_id: str) -> None:
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
                # The server reports this ratio at the moment at which the worker has finished.
                published = isinstance(event.what, JobProgress) and event.what.ratio >= 0.99
                if published and event.time is not None and not finished:
                    finished = event.time.timestamp()
            sdk.predict(name, photo)
            found.append(time.time() - finished)
    return summary([{"seconds": s} for s in found], {"seconds from the worker's end to an answer": found})
