"""`zoo verify` says what it ran and why it did not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from model_zoo.catalog import Catalog
from service.pb import models_pb2
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


def reason(run: Run, zoo: FakeZoo, home: Path) -> str:
    done = run("verify", "silero_vad", "--json", "--server", zoo.target, env={"ZOO_HOME": str(home)})
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert not document["passed"]
    [model] = document["models"]
    assert (model["model"], model["passed"], model["cases"]) == ("silero_vad", False, [])
    return str(model["skipped"])


def test_model_that_cannot_be_verified_here_is_told_why(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    model = zoo.models["silero_vad"]
    assert "of other weights" in reason(run, zoo, tmp_path)
    model.origin.weights_sha256 = Catalog.from_package().get("silero_vad").source.files["weights"].sha256
    assert "its files are not on this machine" in reason(run, zoo, tmp_path)
    model.base = "efficientnet_lite0"
    assert "fine-tuned version" in reason(run, zoo, tmp_path)
    model.state = models_pb2.MODEL_STATE_UNAVAILABLE
    assert reason(run, zoo, tmp_path) == "it is UNAVAILABLE; load it: zoo load silero_vad"


def test_server_without_a_verifiable_model_is_no_success(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    done = run("verify", "--server", zoo.target, env={"ZOO_HOME": str(tmp_path)})
    assert done.exit_code == 1
    assert "silero_vad was not verified" in done.stderr
    assert "no golden case was run" in done.stderr
    for model in zoo.models.values():
        model.state = models_pb2.MODEL_STATE_UNAVAILABLE
    assert "silero_vad" not in run("verify", "--server", zoo.target, env={"ZOO_HOME": str(tmp_path)}).stderr


def test_unknown_model_and_no_server_are_errors_of_a_line(run: Run, zoo: FakeZoo, nowhere: str) -> None:
    for arguments in (("nothing_like_it", "--server", zoo.target), ("--server", nowhere)):
        done = run("verify", *arguments)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
