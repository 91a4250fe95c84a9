"""The start of a server's life: live before ready, one model's trouble is not another's, wrong settings in a sentence."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from service.pb import models_pb2, open_inference_pb2
from tests.support.end_to_end.preloaded import refuses_to_start, run_preloaded, sentence_of
from tests.support.end_to_end.server_process import (
    BEYOND_LOOPBACK,
    TIMEOUT_S,
    ServerProcess,
    home_with,
    run_zoo,
    until,
    zoo_home,
)
from tests.support.end_to_end.stubs import (
    CNN,
    RNN,
    TRANSFORMER,
    ask,
    assert_leaks_nothing,
    expect_error,
    samples,
    stubs_of,
)

SOUND = ask(RNN, samples(np.zeros(512, np.float32)))
HEALTH = {health_pb2.HealthCheckResponse.SERVING: "SERVING", health_pb2.HealthCheckResponse.NOT_SERVING: "NOT_SERVING"}


@contextmanager
def weights_held_back(home: Path, model: str) -> Iterator[None]:
    """Until the end of the context nobody gets a model's weights in `home`; then they are there.

    The store waits for whoever makes them, so a load waits for this test and not the other way round.
    """
    [pointer] = (zoo_home() / "weights" / "by-card").glob(f"{model}-*.json")
    digest = json.loads(pointer.read_text())["digest"]
    locks = [path for path in (zoo_home() / "downloads").glob(".*.lock") if model.partition("_")[0] in path.name]
    (home / "downloads").mkdir()
    with (home / "downloads" / locks[0].name).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
        (home / "weights" / digest).symlink_to(zoo_home() / "weights" / digest)
        (home / "weights" / "by-card" / pointer.name).write_text(pointer.read_text())


def test_server_is_live_while_loading_and_ready_when_loaded(tmp_path: Path) -> None:
    home, held_back = home_with(tmp_path, present=[]), ExitStack()
    held_back.enter_context(weights_held_back(home, RNN))
    with (
        held_back,
        ServerProcess("--model", RNN, cold=True, ZOO_HOME=str(home), ZOO_OFFLINE="0") as server,
        stubs_of(server.live()) as stubs,
    ):
        watches = [
            stubs.health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
            for name in ("", RNN, "zoo.v1.Models")
        ]
        assert [HEALTH[next(watch).status] for watch in watches] == ["NOT_SERVING"] * 3
        assert stubs.inference.ServerLive(open_inference_pb2.ServerLiveRequest()).live
        assert not stubs.inference.ServerReady(open_inference_pb2.ServerReadyRequest()).ready
        assert not stubs.inference.ModelReady(open_inference_pb2.ModelReadyRequest(name=RNN)).ready
        for name in ("", RNN, CNN, "zoo.v1.Prediction", "inference.GRPCInferenceService"):
            assert not stubs.serving(name)
        assert json.loads(server.get("/healthz")) == {"live": True, "ready": False}
        status = run_preloaded("status", "--server", server.target)
        assert status.returncode == 1
        assert "is live and not ready" in status.stdout
        loading = models_pb2.ListModelsRequest(state=models_pb2.MODEL_STATE_LOADING)
        until(lambda: [m.name for m in stubs.models.ListModels(loading).models] == [RNN], "the load")

        refusal = expect_error(lambda: stubs.predict(SOUND))
        assert (refusal.code, refusal.message) == ("UNAVAILABLE", "model 'silero_vad' is loading")
        assert refusal.retry_s is not None
        assert expect_error(lambda: stubs.predict(ask(CNN, {"image": b""}))).code == "UNAVAILABLE"
        unload = models_pb2.UnloadModelRequest(name=RNN)
        assert expect_error(lambda: stubs.models.UnloadModel(unload)).code == "FAILED_PRECONDITION"

        held_back.close()

        for watch in watches:
            assert HEALTH[next(watch).status] == "SERVING"
            watch.cancel()
        assert stubs.predict(SOUND).version == 1
        assert stubs.inference.ServerReady(open_inference_pb2.ServerReadyRequest()).ready
        assert stubs.inference.ModelReady(open_inference_pb2.ModelReadyRequest(name=RNN)).ready
        for name in ("", RNN, "zoo.v1.Prediction", "inference.GRPCInferenceService"):
            assert stubs.serving(name)
        assert not stubs.serving(CNN)
        assert json.loads(server.get("/healthz")) == {"live": True, "ready": True}


def test_sigterm_during_a_weight_fetch_stops_the_server(tmp_path: Path) -> None:
    home = home_with(tmp_path, present=[])
    with (
        weights_held_back(home, RNN),
        ServerProcess("--model", RNN, cold=True, ZOO_HOME=str(home), ZOO_OFFLINE="0") as server,
    ):
        with stubs_of(server.live()) as stubs:
            loading = models_pb2.ListModelsRequest(state=models_pb2.MODEL_STATE_LOADING)
            until(lambda: len(stubs.models.ListModels(loading).models) == 1, "the load")
        server.terminate()
        assert server.wait() == 0


def test_models_with_unusable_weights_are_unavailable_while_others_serve(tmp_path: Path) -> None:
    home = home_with(tmp_path, present=[RNN], damaged={CNN: b"\xff" * 4096})
    with ServerProcess(ZOO_HOME=str(home)) as server:
        server.ready()
        with stubs_of(server) as stubs:
            assert stubs.predict(SOUND).version == 1
            assert (stubs.serving(), stubs.serving(RNN)) == (True, True)
            assert (stubs.serving(CNN), stubs.serving(TRANSFORMER)) == (False, False)

            missing = expect_error(lambda: stubs.predict(ask(TRANSFORMER, {"text": "hello"})))
            assert missing.code == "UNAVAILABLE"
            assert "its weights are not on this machine and the server is offline" in missing.message
            assert f"zoo pull {TRANSFORMER}" in missing.message

            damaged = expect_error(lambda: stubs.predict(ask(CNN, {"image": b"photo"})))
            assert damaged.code == "UNAVAILABLE"
            assert damaged.message.startswith(f"model '{CNN}' is unavailable: ")

            for model, words in ((CNN, damaged.message), (TRANSFORMER, missing.message)):
                shown = stubs.models.GetModel(models_pb2.GetModelRequest(name=model)).model
                assert shown.state == models_pb2.MODEL_STATE_UNAVAILABLE
                assert shown.state_reason
                assert shown.state_reason in words
                again = expect_error(lambda m=model: stubs.models.LoadModel(models_pb2.LoadModelRequest(name=m)))
                assert again.code == "UNAVAILABLE"
                assert shown.state_reason in again.message
            index = stubs.inference.RepositoryIndex(open_inference_pb2.RepositoryIndexRequest()).models
            for entry in index:
                assert_leaks_nothing(entry.reason)
            assert {entry.name: entry.state for entry in index}.items() >= {
                CNN: "UNAVAILABLE",
                RNN: "READY",
                TRANSFORMER: "UNAVAILABLE",
            }.items()
        status = run_preloaded("status", "--server", server.target)
        assert status.returncode == 0
        assert "not on this machine" in status.stdout
        said = "".join(server.out)
        assert f" predict --server {server.target} {RNN}" in said
        assert f" predict --server {server.target} {CNN}" not in said


def test_server_without_loadable_model_is_live_and_not_ready(tmp_path: Path) -> None:
    with ServerProcess("--model", RNN, ZOO_HOME=str(tmp_path)) as server:
        server.live().wait_for("no model could be loaded")
        with stubs_of(server) as stubs:
            assert not stubs.serving()
        assert json.loads(server.get("/healthz")) == {"live": True, "ready": False}
        home_with(tmp_path, present=[RNN])
        with stubs_of(server) as stubs:
            loaded = stubs.models.LoadModel(models_pb2.LoadModelRequest(name=RNN), timeout=TIMEOUT_S).model
            assert loaded.state == models_pb2.MODEL_STATE_READY
            until(lambda: stubs.serving(), "readiness")
        assert json.loads(server.get("/healthz")) == {"live": True, "ready": True}


# ── wrong settings ────────────────────────────────────────────────────────────────────────────────────────────────


def test_wrong_setting_ends_a_process_of_its_own_alike() -> None:
    """The other tests fork a process that has imported the server."""
    sentence = sentence_of(run_zoo("serve", "--model", "eficientnet_lite0", "--port", "0", "--http-port", "0"))
    assert "did you mean efficientnet_lite0" in sentence


TAKEN = "cannot listen on {}; is another server running there? {} names another port."


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def test_grpc_port_in_use_is_reported(taken_port: int) -> None:
    sentence = refuses_to_start("--port", str(taken_port), "--http-port", "0")
    where = f"127.0.0.1:{taken_port} for gRPC"
    assert sentence == TAKEN.format(where, "--port or ZOO_PORT")


def test_http_port_in_use_is_reported(taken_port: int) -> None:
    sentence = refuses_to_start("--port", "0", "--http-port", str(taken_port))
    where = f"127.0.0.1:{taken_port} for /metrics"
    assert sentence == TAKEN.format(where, "--http-port or ZOO_HTTP_PORT")


def test_unknown_model_is_rejected_with_a_similar_name() -> None:
    sentence = refuses_to_start("--model", "eficientnet_lite0", "--port", "0", "--http-port", "0")
    assert "eficientnet_lite0" in sentence
    assert f"did you mean {CNN}" in sentence


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eighty"), ("PORT", "70000"), ("LOG_FORMAT", "xml"), ("DRAIN_GRACE_S", "-1")]
)
def test_wrong_setting_is_rejected_with_its_name_and_value(name: str, value: str) -> None:
    sentence = refuses_to_start(**{f"ZOO_{name}": value})
    assert f"ZOO_{name}" in sentence
    assert value in sentence


def test_host_of_another_machine_is_rejected() -> None:
    sentence = refuses_to_start("--host", "192.0.2.1", "--port", "0", "--http-port", "0", **BEYOND_LOOPBACK)
    assert sentence == "cannot listen on 192.0.2.1:0 for gRPC: cannot assign requested address"
