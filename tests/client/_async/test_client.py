"""The two clients: `AsyncClient` is written by hand, `Client` is generated from it."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.client import AsyncClient, BadInput, Client, PredictionError, Retry
from tests.support.fake_zoo.server import FakeZoo
from tests.support.paths import REPOSITORY

SYNC = REPOSITORY / "service" / "client" / "_sync"


def test_both_clients_have_the_same_methods() -> None:
    def defined(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    def available(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert defined(Client) == defined(AsyncClient)
    assert available(Client) == available(AsyncClient)
    assert {"finetune", "upload_dataset", "watch_job", "promote", "rollback", "set_canary"} < available(Client)


def test_both_clients_have_the_same_parameters_and_documentation() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            other = getattr(AsyncClient, name)
            ours, theirs = inspect.signature(method).parameters, inspect.signature(other).parameters
            assert [(p.name, p.kind, p.default) for p in ours.values()] == [
                (p.name, p.kind, p.default) for p in theirs.values()
            ]
            assert method.__doc__ == other.__doc__


INVALID = "\ud800"
"""A lone surrogate, which no message can hold."""


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.predict("m", "text", version=INVALID),
        lambda client: list(client.models(family=INVALID)),
        lambda client: client.model(INVALID),
        lambda client: client.load(INVALID),
        lambda client: client.unload(INVALID),
        lambda client: client.set_options(INVALID, {}),
        lambda client: client.set_options("m", {INVALID: 1}),
        lambda client: client.upload_dataset("s3://bucket/" + INVALID),
        lambda client: client.upload_dataset(__file__, display_name=INVALID),
        lambda client: client.upload_dataset(__file__, columns={"target": INVALID}),
        lambda client: client.dataset(INVALID),
        lambda client: client.delete_dataset(INVALID),
        lambda client: client.create_job(INVALID, "d1", "m"),
        lambda client: client.create_job("b", "d1", "m", request_id=INVALID),
        lambda client: client.check_job("b", INVALID),
        lambda client: client.job(INVALID),
        lambda client: list(client.jobs(owner=INVALID)),
        lambda client: client.cancel_job(INVALID),
        lambda client: client.pause_job(INVALID),
        lambda client: client.resume_job(INVALID),
        lambda client: client.delete_job(INVALID),
        lambda client: list(client.watch_job(INVALID)),
        lambda client: client.checkpoints(INVALID),
        lambda client: client.finetune("b", __file__, INVALID),
        lambda client: client.versions(INVALID),
        lambda client: client.report("m", INVALID),
        lambda client: client.promote(INVALID, 1),
        lambda client: client.rollback(INVALID),
        lambda client: client.set_canary(INVALID, 1, 0.5),
        lambda client: client.set_alias("m", INVALID, 1),
        lambda client: client.delete_alias("m", INVALID),
        lambda client: client.delete_version(INVALID, 1),
    ],
)
def test_text_that_is_not_valid_unicode_is_rejected_before_any_call(call: Callable[[Client], object]) -> None:
    with Client("127.0.0.1:1", retry=Retry(attempts=1)) as client, pytest.raises(BadInput, match="lone surrogates"):
        call(client)


def test_text_that_is_not_valid_unicode_fails_its_input_on_a_stream(zoo: FakeZoo, client: Client) -> None:
    [outcome] = client.stream_predict("all_minilm_l6_v2", ["text"], version=INVALID)
    assert isinstance(outcome, PredictionError)
    assert "lone surrogates" in str(outcome)


def test_regenerating_the_sync_client_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("unasync", reason="unasync is not installed")
    command = [sys.executable, "scripts/sync_client.py", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    committed = {path.name: path.read_text() for path in SYNC.glob("*.py")}
    fresh = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
    stale = {name for name in committed | fresh if committed.get(name) != fresh.get(name)}
    assert not stale, "run make client"


def test_sync_client_has_no_coroutines() -> None:
    for path in SYNC.glob("*.py"):
        words = path.read_text(encoding="utf-8").split()
        assert not {"async", "await", "asyncio"} & set(words), path.name
