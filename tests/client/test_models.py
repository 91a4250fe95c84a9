"""The catalog and the status of the server."""

import pytest

from service.client import AsyncClient, BadInput, Client, InvalidRequest, NotFound, Retry, TensorSpec
from tests.support.fake_zoo.server import FakeZoo


def test_models_are_listed_across_pages_in_order(zoo: FakeZoo, client: Client) -> None:
    assert [m.name for m in client.models()] == ["all_minilm_l6_v2", "efficientnet_lite0", "silero_vad"]
    assert [request.page_token for request in zoo.calls["ListModels"]] == ["", "2"]


def test_next_page_is_requested_only_when_needed(zoo: FakeZoo, client: Client) -> None:
    assert next(iter(client.models())).name == "all_minilm_l6_v2"
    assert len(zoo.calls["ListModels"]) == 1


def test_filters_are_sent_with_every_page(zoo: FakeZoo, client: Client) -> None:
    assert [m.name for m in client.models(family="rnn", state="READY")] == ["silero_vad"]
    [request] = zoo.calls["ListModels"]
    assert (request.family, request.state) == ("rnn", 2)
    with pytest.raises(ValueError, match="ASLEEP"):
        list(client.models(state="asleep"))


def test_model_has_all_fields_of_the_server(client: Client) -> None:
    model = client.model("efficientnet_lite0")
    assert (model.state, model.versions, model.aliases) == ("READY", (1,), {"stable": 1})
    assert model.inputs == (TensorSpec("pixel_values", "FP32", (-1, 4)),)
    assert (model.device, model.memory_bytes, model.labels) == ("cpu", 18_600_000, ("cat", "dog"))


def test_load_and_unload_change_the_state(client: Client) -> None:
    assert client.unload("silero_vad").state == "UNAVAILABLE"
    assert client.load("silero_vad").state == "READY"


def test_unload_returns_the_freed_memory(client: Client) -> None:
    unloaded = client.unload("silero_vad")
    assert (unloaded.held_bytes, unloaded.freed_bytes) == (20_000_000, 19_500_000)


def test_options_are_read_and_changed(zoo: FakeZoo, client: Client) -> None:
    model = client.model("silero_vad")
    assert model.options == {"max_batch_size": 8, "weight": 1.5, "pinned": False, "precision": "auto"}
    assert (model.weights_bytes, model.growth_bytes, model.evidence) == (18_500_000, 30_000_000, None)
    updated = client.set_options("silero_vad", {"weight": 2, "max_batch_size": None, "precision": "fp32"})
    assert updated.options == {"weight": 2.0, "pinned": False, "precision": "fp32"}
    assert updated.at_next_load == ("precision",)
    with pytest.raises(BadInput, match=r"options.weight: expected a number, got 'x'"):
        client.set_options("silero_vad", {"weight": "x"})
    with pytest.raises(InvalidRequest, match="no such option"):
        client.set_options("silero_vad", {"wieght": 2})
    assert len(zoo.calls["UpdateModel"]) == 2


def test_unknown_model_is_rejected_with_a_hint(client: Client) -> None:
    with pytest.raises(NotFound, match="did you mean 'silero_vad'"):
        client.load("silero")


def test_status_has_live_ready_and_the_models(zoo: FakeZoo, client: Client) -> None:
    status = client.status()
    assert (status.live, status.ready, len(status.models)) == (True, True, 3)
    zoo.set_ready(False)
    status = client.status()
    assert (status.live, status.ready) == (True, False)


def test_status_of_a_stopping_server_is_live_with_a_problem(zoo: FakeZoo, client: Client) -> None:
    zoo.set_ready(False)
    zoo.fail_next("ListModels", "UNAVAILABLE", "the server is shutting down", times=5)
    status = client.status()
    assert (status.live, status.models, status.problem) == (True, (), "the server is shutting down")


def test_status_without_a_server_is_returned_without_retries(retry: Retry) -> None:
    with Client("127.0.0.1:1", retry=Retry(initial_backoff_s=3600, max_backoff_s=3600)) as client:
        status = client.status()
    assert not status.live
    assert "no server answers at 127.0.0.1:1" in status.problem


@pytest.mark.asyncio
async def test_async_client_lists_loads_and_configures_models(zoo: FakeZoo, retry: Retry) -> None:
    async with AsyncClient(zoo.target, retry=retry) as client:
        assert [m.name async for m in client.models()] == ["all_minilm_l6_v2", "efficientnet_lite0", "silero_vad"]
        assert (await client.unload("silero_vad")).state == "UNAVAILABLE"
        assert (await client.load("silero_vad")).state == "READY"
        assert (await client.set_options("silero_vad", {"weight": 3})).options["weight"] == 3
        assert await client.ready()
        assert (await client.status()).ready
