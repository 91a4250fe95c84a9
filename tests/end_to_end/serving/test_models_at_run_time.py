"""Models come and go while the server serves, through `zoo.v1`, through the command, and in both Open Inference dialects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from service.pb import models_pb2, open_inference_pb2
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import (
    TIMEOUT_S,
    ServerProcess,
    until,
)
from tests.support.end_to_end.stubs import (
    CNN,
    RNN,
    TRANSFORMER,
    Scrape,
    Stubs,
    ask,
    expect_error,
    infer,
    samples,
)

SOUND = ask(RNN, samples(np.zeros(512, np.float32)))
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(autouse=True)
def as_found(stubs: Stubs) -> Iterator[None]:
    """The other tests need every model."""
    yield
    stubs.models.LoadModel(models_pb2.LoadModelRequest(name=RNN), timeout=TIMEOUT_S)
    until(lambda: stubs.serving(RNN), "health")


def by_zoo(stubs: Stubs, server: ServerProcess, verb: str) -> None:
    if verb == "load":
        model = stubs.models.LoadModel(models_pb2.LoadModelRequest(name=RNN), timeout=TIMEOUT_S).model
        assert (model.state, list(model.versions)) == (models_pb2.MODEL_STATE_READY, [1])
    else:
        model = stubs.models.UnloadModel(models_pb2.UnloadModelRequest(name=RNN), timeout=TIMEOUT_S).model
        assert (model.state, list(model.versions)) == (models_pb2.MODEL_STATE_UNAVAILABLE, [])
        assert model.state_reason == "unloaded"
        assert not model.HasField("runtime")


def by_triton(stubs: Stubs, server: ServerProcess, verb: str) -> None:
    if verb == "load":
        request = open_inference_pb2.RepositoryModelLoadRequest(model_name=RNN)
        reply = stubs.inference.RepositoryModelLoad(request, timeout=TIMEOUT_S)
    else:
        unload = open_inference_pb2.RepositoryModelUnloadRequest(model_name=RNN)
        unload.parameters["unload_dependents"].bool_param = False
        reply = stubs.inference.RepositoryModelUnload(unload, timeout=TIMEOUT_S)
    assert not reply.ListFields()


def by_kserve(stubs: Stubs, server: ServerProcess, verb: str) -> None:
    if verb == "load":
        request = open_inference_pb2.RepositoryModelLoadRequest(repository_name=RNN)
        loaded = stubs.inference.RepositoryModelLoad(request, timeout=TIMEOUT_S)
        assert (loaded.model_name, loaded.isLoaded) == (RNN, True)
    else:
        unload = open_inference_pb2.RepositoryModelUnloadRequest(repository_name=RNN)
        unloaded = stubs.inference.RepositoryModelUnload(unload, timeout=TIMEOUT_S)
        assert (unloaded.model_name, unloaded.isUnloaded) == (RNN, True)


def by_command(stubs: Stubs, server: ServerProcess, verb: str) -> None:
    ended = run_preloaded(verb, RNN, "--server", server.target)
    assert ended.returncode == 0, ended.stderr
    assert f"{RNN} is {'READY' if verb == 'load' else 'UNAVAILABLE'}" in ended.stdout


@pytest.mark.parametrize("do", [by_zoo, by_triton, by_kserve, by_command])
def test_model_is_unloaded_and_loaded_again(
    server: ServerProcess, stubs: Stubs, do: Callable[[Stubs, ServerProcess, str], None]
) -> None:
    watched = stubs.health.Watch(health_pb2.HealthCheckRequest(service=RNN), timeout=TIMEOUT_S)
    assert next(watched).status == SERVING
    do(stubs, server, "unload")
    assert next(watched).status == NOT_SERVING
    refusal = expect_error(lambda: stubs.predict(SOUND))
    assert (refusal.code, refusal.message) == ("UNAVAILABLE", "model 'silero_vad' is unavailable: unloaded")
    assert expect_error(lambda: stubs.infer(infer(RNN, samples=np.zeros((1, 512), np.float32)))).code == "UNAVAILABLE"
    assert not stubs.inference.ModelReady(open_inference_pb2.ModelReadyRequest(name=RNN)).ready
    scrape = Scrape(server)
    assert scrape.value("zoo_model_state", model=RNN, state="UNAVAILABLE") == 1
    assert scrape.value("zoo_model_memory_bytes", model=RNN) == 0
    assert stubs.predict(ask(TRANSFORMER, {"text": "the others go on"})).version == 1
    assert stubs.serving()
    do(stubs, server, "load")
    assert next(watched).status == SERVING
    watched.cancel()
    assert stubs.predict(SOUND).version == 1
    assert Scrape(server).value("zoo_model_memory_bytes", model=RNN) > 0


@pytest.mark.parametrize("do", [by_zoo, by_triton, by_kserve])
def test_load_of_loaded_and_unload_of_unloaded_model_change_nothing(
    server: ServerProcess, stubs: Stubs, do: Callable[[Stubs, ServerProcess, str], None]
) -> None:
    do(stubs, server, "load")
    do(stubs, server, "load")
    do(stubs, server, "unload")
    do(stubs, server, "unload")


def test_concurrent_loads_of_a_model_share_one_load(stubs: Stubs, server: ServerProcess) -> None:
    by_zoo(stubs, server, "unload")
    request = models_pb2.LoadModelRequest(name=RNN)
    calls = [stubs.models.LoadModel.future(request, timeout=TIMEOUT_S) for _ in range(4)]
    assert {call.result().model.state for call in calls} == {models_pb2.MODEL_STATE_READY}


def test_unload_waits_for_calls_in_flight(stubs: Stubs, server: ServerProcess) -> None:
    until(lambda: Scrape(server).value("zoo_in_flight_requests", model=RNN) == 0, "an idle server")
    long = infer(RNN, samples=np.zeros((1, 240 * 16_000), np.float32))
    call = stubs.inference.ModelInfer.future(long, timeout=TIMEOUT_S)
    until(lambda: Scrape(server).value("zoo_in_flight_requests", model=RNN) == 1, "a call in flight")
    queued = stubs.prediction.Predict.future(SOUND, timeout=TIMEOUT_S)
    until(lambda: Scrape(server).value("zoo_in_flight_requests", model=RNN) == 2, "another behind it")
    unload = stubs.models.UnloadModel.future(models_pb2.UnloadModelRequest(name=RNN), timeout=TIMEOUT_S)
    until(lambda: not stubs.serving(RNN), "the model to be taken out of service")
    assert expect_error(lambda: stubs.predict(SOUND)).code == "UNAVAILABLE"
    assert call.result().model_version == "1"
    assert len(queued.result().predictions) == 1
    assert unload.result().model.state == models_pb2.MODEL_STATE_UNAVAILABLE


def test_load_of_unknown_model_is_not_found(stubs: Stubs) -> None:
    load = models_pb2.LoadModelRequest(name="silero_vat")
    assert "did you mean 'silero_vad'?" in expect_error(lambda: stubs.models.LoadModel(load)).message
    for request in ({"model_name": "silero_vat"}, {"repository_name": "silero_vat"}):
        triton = open_inference_pb2.RepositoryModelLoadRequest(**request)
        refusal = expect_error(lambda t=triton: stubs.inference.RepositoryModelLoad(t))
        assert (refusal.code, refusal.resource) == ("NOT_FOUND", "model silero_vat")
    nameless = expect_error(lambda: stubs.models.LoadModel(models_pb2.LoadModelRequest()))
    assert (nameless.code, nameless.field) == ("INVALID_ARGUMENT", "name")


def test_load_with_another_config_than_the_catalogs_is_rejected(stubs: Stubs) -> None:
    load = open_inference_pb2.RepositoryModelLoadRequest(model_name=RNN)
    load.parameters["config"].string_param = '{"backend": "python"}'
    refusal = expect_error(lambda: stubs.inference.RepositoryModelLoad(load))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "parameters[config]")


def test_model_list_is_paged(stubs: Stubs) -> None:
    names, token = [], ""
    for _ in range(1_000):
        page = stubs.models.ListModels(models_pb2.ListModelsRequest(page_size=1, page_token=token))
        names += [model.name for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert set(names) >= {CNN, RNN, TRANSFORMER}
    assert names == sorted(set(names))
    wrong = models_pb2.ListModelsRequest(page_token="nonsense")
    assert expect_error(lambda: stubs.models.ListModels(wrong)).field == "page_token"
    only = stubs.models.ListModels(models_pb2.ListModelsRequest(family="rnn")).models
    assert RNN in [model.name for model in only]
    assert {model.family for model in only} == {"rnn"}
