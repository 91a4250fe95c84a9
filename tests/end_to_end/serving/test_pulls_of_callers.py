"""A running server pulls networks for its callers where its operator allows it, and learns of those that the command pulls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.client import Classification, Client
from service.client.errors import ZooClientError
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import ServerProcess, until, zoo_home
from tests.support.end_to_end.stubs import RNN
from tests.support.references.stand_in_hub import HostedRepository, StandInHub, stand_in_hub
from tests.support.references.tiny_repositories import text_classifier

TEXT = "the film was a delight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_classifier(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> Iterator[tuple[StandInHub, ServerProcess, Client, dict[str, str]]]:
    """A hub, and a server whose callers may pull from it."""
    home = tmp_path_factory.mktemp("home")
    (home / "weights").mkdir()
    for path in (zoo_home() / "weights").iterdir():
        (home / "weights" / path.name).symlink_to(path)
    (home / "weights" / "by-card").unlink()
    (home / "weights" / "by-card").mkdir()
    for path in (zoo_home() / "weights" / "by-card").iterdir():
        (home / "weights" / "by-card" / path.name).symlink_to(path)
    with ExitStack() as stack:
        hub = stack.enter_context(stand_in_hub())
        hub.repositories["org/tiny"] = HostedRepository(folder, card={"license": "mit"})
        hub.repositories["org/closed"] = HostedRepository(folder, gated=True)
        settings = {"ZOO_HOME": str(home), "ZOO_MODELS": RNN, "HF_ENDPOINT": hub.url, "ZOO_FOLLOW_INTERVAL_S": "0.5"}
        settings["ZOO_OFFLINE"] = "false"
        server = stack.enter_context(ServerProcess(ZOO_ALLOW_PULL="true", **settings))
        client = stack.enter_context(Client(server.ready().target))
        yield hub, server, client, settings


Running = tuple[StandInHub, ServerProcess, Client, dict[str, str]]


def refused(client: Client, reference: str, **given: str) -> ZooClientError:
    with pytest.raises(ZooClientError) as error:
        client.pull_model(reference, **given)  # type: ignore[arg-type]
    return error.value


def test_caller_pulls_loads_and_asks_a_network(running: Running) -> None:
    _, _, client, _ = running
    with ThreadPoolExecutor(2) as callers:
        pulls = list(callers.map(client.pull_model, ["hf:org/tiny"] * 2))
    assert sorted(one.already_present for one in pulls) == [False, True], (
        "the second of two callers waits for the first"
    )
    assert {(one.model.name, one.model.state, one.model.task) for one in pulls} == {
        ("tiny", "UNAVAILABLE", "text-classification")
    }
    assert client.load("tiny").state == "READY"
    [found] = client.predict("tiny", TEXT)
    assert isinstance(found, Classification)
    assert {label.name for label in found.labels} == {"bad", "good"}


@pytest.mark.parametrize(
    ("reference", "given", "code", "words"),
    [
        ("", {}, "INVALID_ARGUMENT", "is required"),
        ("org/tiny", {}, "INVALID_ARGUMENT", "expected hf:ORG/NAME"),
        ("hf:a/b/c", {}, "INVALID_ARGUMENT", "expected ORG/NAME after hf:"),
        ("hf:" + "x" * 600, {}, "INVALID_ARGUMENT", "expected at most 512 characters, got 603"),
        ("hf:org/tiny\n", {}, "INVALID_ARGUMENT", "cannot be printed"),
        ("hf:org/absent", {}, "NOT_FOUND", "the hub has no such repository"),
        ("hf:org/tiny@nowhere", {"name": "other"}, "NOT_FOUND", "no such branch, tag or commit"),
        ("hf:org/closed", {}, "UNAVAILABLE", "its makers ask for consent first"),
        ("hf:org/tiny", {"name": "Bad Name"}, "INVALID_ARGUMENT", "is no name of a model"),
        ("hf:org/tiny", {"name": RNN}, "FAILED_PRECONDITION", "there is a model silero_vad already"),
        ("hf:org/tiny", {"name": "other", "task": "flying"}, "FAILED_PRECONDITION", "does not have the task 'flying'"),
        ("local:/etc", {}, "PERMISSION_DENIED", "not from files of the server"),
        (f"onnx:http://127.0.0.1/a.onnx#sha256={'0' * 64}", {}, "PERMISSION_DENIED", "or other addresses"),
        (f"onnx:https://models.example/a.onnx#sha256={'0' * 64}", {}, "PERMISSION_DENIED", "or other addresses"),
        (f"onnx:s3://bucket/a.onnx#sha256={'0' * 64}", {}, "PERMISSION_DENIED", "or other addresses"),
        ("torchvision:ResNet18_Weights.IMAGENET1K_V1", {}, "PERMISSION_DENIED", "or other addresses"),
        ("onnx:https://models.example/a.onnx", {}, "INVALID_ARGUMENT", "needs the sha256"),
        ("onnx:http://169.254.169.254/latest", {}, "INVALID_ARGUMENT", "plain http"),
    ],
)
def test_pull_that_cannot_be_done_says_why(
    running: Running, reference: str, given: dict[str, str], code: str, words: str
) -> None:
    _, _, client, _ = running
    error = refused(client, reference, **given)
    assert error.code == code
    assert words in error.message
    assert "/tmp" not in error.message
    assert "127.0.0.1" not in error.message


def test_caller_who_leaves_ends_the_pull(running: Running) -> None:
    hub, _, client, settings = running
    hub.answering.clear()
    with pytest.raises(ZooClientError) as error:
        client.pull_model("hf:org/tiny", name="left", timeout=0.5)
    hub.answering.set()
    assert error.value.code == "DEADLINE_EXCEEDED"
    assert client.pull_model("hf:org/tiny", name="after").model.name == "after"
    assert "left" not in {model.name for model in client.models()}
    assert not (Path(settings["ZOO_HOME"]) / "cards" / "left.yaml").exists()


def test_command_lets_a_server_pull(running: Running) -> None:
    _, server, client, _ = running
    done = run_preloaded("pull", "hf:org/tiny", "--name", "by_command", "--server", server.target)
    assert done.returncode == 0, done.stderr
    assert "by_command: pulled" in done.stdout
    assert client.model("by_command").state == "UNAVAILABLE"
    done = run_preloaded("pull", "efficientnet_lite0", "--server", server.target)
    assert (done.returncode, "a server pulls references" in done.stderr) == (2, True)


def test_running_server_learns_of_what_the_command_pulls(running: Running, folder: Path) -> None:
    _, _, client, settings = running
    done = run_preloaded("pull", f"local:{folder}", "--name", "beside", **settings)
    assert done.returncode == 0, done.stderr
    assert client.load("beside").state == "READY"
    [found] = client.predict("beside", TEXT)
    assert isinstance(found, Classification)


def test_server_pulls_nothing_unless_its_operator_allows_it(running: Running) -> None:
    hub, _, _, settings = running
    asked = len(hub.requests)
    with ServerProcess(**settings) as server, Client(server.ready().target) as client:
        error = refused(client, "hf:org/tiny")
    assert (error.code, "ZOO_ALLOW_PULL" in error.message) == ("PERMISSION_DENIED", True)
    assert len(hub.requests) == asked


def finetuned(base: str, tmp_path: Path, name: str, server: ServerProcess, settings: dict[str, str]) -> dict[str, str]:
    data = tmp_path / "films.csv"
    texts = ("the film was a delight", "the old lamp", "a delight from first to last", "stairs and the lighthouse")
    lines = [f"{text},{('good', 'bad')[i % 2]}" for i, text in enumerate(texts * 8)]
    data.write_text("\n".join(["text,label", *lines]))
    given = ("--name", name, "--json", "--detach", "--server", server.target)
    done = run_preloaded("finetune", base, str(data), *given, **settings)
    assert done.returncode == 0, done.stderr
    job: dict[str, str] = json.loads(done.stdout.splitlines()[-1])["job"]
    return job


def test_base_is_a_reference_that_the_server_pulls(running: Running, tmp_path: Path) -> None:
    _, server, client, settings = running
    elsewhere = {**settings, "ZOO_HOME": str(tmp_path / "home")}
    job = finetuned("hf:org/tiny", tmp_path, "reviews", server, elsewhere)
    until(lambda: client.job(job["id"]).state == "SUCCEEDED", "the job")
    [found] = client.predict("reviews", TEXT, version="1")
    assert isinstance(found, Classification)
    assert not (tmp_path / "home" / "cards").exists(), "this machine pulls nothing"


def test_base_is_a_folder_of_this_machine_that_the_command_pulls(
    running: Running, folder: Path, tmp_path: Path
) -> None:
    _, server, client, settings = running
    job = finetuned(f"local:{folder}", tmp_path, "views", server, settings)
    until(lambda: client.job(job["id"]).state == "SUCCEEDED", "the job")
    assert isinstance(client.predict("views", TEXT, version="1")[0], Classification)
