"""zoo.v1.Models as a client sees it: what there is, page by page, and what becomes of it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio
from registry.fakes import World, card, world

from model_zoo.catalog import Catalog
from service.errors import NotReady
from service.pb import models_pb2 as pb
from service.registry.registry import Registry
from service.wire.models import ModelsServicer
from wire.calls import detail, status_in, until, wired

pytestmark = pytest.mark.asyncio
NAMES = ("alpha", "beta", "delta", "gamma")


@asynccontextmanager
async def served(*names: str, **how: Any) -> AsyncIterator[tuple[World, Any]]:
    async with world(*(names or NAMES), load=False, **how) as w, wired(registry=w.registry) as wire:
        yield w, wire.models


def names_of(response: pb.ListModelsResponse) -> list[str]:
    return [model.name for model in response.models]


async def refused(call: Any, code: grpc.StatusCode, field: str = "") -> str:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code
    if field:
        bad = detail(status_in(caught.value), details.BadRequest)
        assert bad is not None
        assert bad.field_violations[0].field == field
    return caught.value.details() or ""


# ── listing ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_catalog_is_listed_in_order_of_name_with_states() -> None:
    async with served() as (w, models):
        await w.registry.load("beta")
        response = await models.ListModels(pb.ListModelsRequest())
        assert names_of(response) == list(NAMES)
        assert response.next_page_token == ""
        states = {model.name: model.state for model in response.models}
        assert states.pop("beta") == pb.MODEL_STATE_READY
        assert set(states.values()) == {pb.MODEL_STATE_UNAVAILABLE}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
async def test_pages_hold_every_model_once(size: int) -> None:
    async with served() as (_, models):
        seen: list[str] = []
        token = ""
        while True:
            page = await models.ListModels(pb.ListModelsRequest(page_size=size, page_token=token))
            assert 1 <= len(page.models) <= size
            seen += names_of(page)
            token = page.next_page_token
            if not token:
                break
        assert seen == list(NAMES)


async def test_pages_of_a_filtered_listing_hold_every_match_once() -> None:
    async with served() as (w, models):
        for name in ("alpha", "delta", "gamma"):
            await w.registry.load(name)
        ready = {"state": pb.MODEL_STATE_READY, "page_size": 2}
        first = await models.ListModels(pb.ListModelsRequest(**ready))
        second = await models.ListModels(pb.ListModelsRequest(**ready, page_token=first.next_page_token))
        assert (names_of(first), names_of(second)) == (["alpha", "delta"], ["gamma"])
        assert second.next_page_token == ""


async def test_a_model_that_leaves_the_listing_between_pages_hides_no_other() -> None:
    async with served() as (w, models):
        for name in NAMES:
            await w.registry.load(name)
        ready = {"state": pb.MODEL_STATE_READY, "page_size": 2}
        first = await models.ListModels(pb.ListModelsRequest(**ready))
        await w.registry.unload("beta")  # the one at which the next page begins
        second = await models.ListModels(pb.ListModelsRequest(**ready, page_token=first.next_page_token))
        assert names_of(second) == ["delta", "gamma"]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"family": "transformer"}, 4),
        ({"family": "cnn"}, 0),
        ({"family": "Transformer"}, 0),
        ({"task": "feature-extraction"}, 4),
        ({"task": "image-classification"}, 0),
        ({"state": pb.MODEL_STATE_UNAVAILABLE}, 4),
        ({"state": pb.MODEL_STATE_READY}, 0),
        ({"state": 99}, 0),
        ({"family": "transformer", "state": pb.MODEL_STATE_LOADING}, 0),
    ],
)
async def test_filters_keep_what_matches_all_of_them(filters: dict[str, Any], count: int) -> None:
    async with served() as (_, models):
        assert len((await models.ListModels(pb.ListModelsRequest(**filters))).models) == count


async def test_a_page_size_below_nought_is_refused_and_a_huge_one_is_bounded() -> None:
    async with served() as (_, models):
        says = await refused(
            models.ListModels(pb.ListModelsRequest(page_size=-1)), grpc.StatusCode.INVALID_ARGUMENT, "page_size"
        )
        assert "expected 0 or more, got -1" in says
        assert len((await models.ListModels(pb.ListModelsRequest(page_size=2**31 - 1))).models) == 4


@pytest.mark.parametrize(
    "token",
    ["x", "!!!!", "a" * 100_000, "Größe", base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode(), "====", "\x00"],
)
async def test_a_token_that_was_never_given_out_is_refused(token: str) -> None:
    async with served() as (_, models):
        await refused(
            models.ListModels(pb.ListModelsRequest(page_token=token)), grpc.StatusCode.INVALID_ARGUMENT, "page_token"
        )


@pytest.mark.parametrize("other", [{"family": "cnn"}, {"task": "x"}, {"state": pb.MODEL_STATE_READY}])
async def test_a_token_of_another_listing_is_refused(other: dict[str, Any]) -> None:
    async with served() as (_, models):
        page = await models.ListModels(pb.ListModelsRequest(page_size=1))
        says = await refused(
            models.ListModels(pb.ListModelsRequest(page_token=page.next_page_token, **other)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "page_token",
        )
        assert "other filters" in says


async def test_a_page_may_change_its_size_in_the_middle() -> None:
    async with served() as (_, models):
        page = await models.ListModels(pb.ListModelsRequest(page_size=1))
        rest = await models.ListModels(pb.ListModelsRequest(page_size=100, page_token=page.next_page_token))
        assert names_of(rest) == list(NAMES[1:])


# ── one model ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_model_shows_its_card_and_what_runs() -> None:
    async with served("adder", max_batch_size=3) as (w, models):
        await w.registry.load("adder")
        model = (await models.GetModel(pb.GetModelRequest(name="adder"))).model
        known = card("adder")
        assert (model.name, model.family, model.task, model.raw_input) == (
            "adder",
            known.family,
            known.task,
            known.raw_input,
        )
        assert model.state == pb.MODEL_STATE_READY
        assert model.state_reason == ""
        assert list(model.versions) == [1]
        assert dict(model.aliases) == {"stable": 1}
        assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("x", "FP32", [-1, 1])]
        assert [(t.name, t.datatype, list(t.shape)) for t in model.outputs] == [("y", "FP32", [-1, 1])]
        assert (model.runtime.device, model.runtime.precision, model.runtime.memory_bytes) == ("cpu", "fp32", 4096)
        assert model.runtime.load_duration.ToNanoseconds() == 250_000_000
        assert model.max_batch_size == 3
        assert model.parameter_count == known.parameters
        assert model.origin.licence == known.licence.weights
        assert model.origin.weights_sha256 == known.source.files["weights"].sha256


async def test_a_model_that_is_away_shows_why_and_nothing_that_runs() -> None:
    async with served("adder") as (w, models):
        w.loader.fail("adder", NotReady("its weights are damaged"))
        says = await refused(models.LoadModel(pb.LoadModelRequest(name="adder")), grpc.StatusCode.UNAVAILABLE)
        assert says == "model 'adder' could not be loaded: its weights are damaged"
        model = (await models.GetModel(pb.GetModelRequest(name="adder"))).model
        assert (model.state, model.state_reason) == (pb.MODEL_STATE_UNAVAILABLE, "its weights are damaged")
        assert not model.versions
        assert not model.HasField("runtime")


@pytest.mark.parametrize("method", ["GetModel", "LoadModel", "UnloadModel"])
async def test_a_name_is_required_and_must_be_known(method: str) -> None:
    async with served("adder") as (_, models):
        ask = getattr(models, method)
        message = getattr(pb, f"{method}Request")
        await refused(ask(message()), grpc.StatusCode.INVALID_ARGUMENT, "name")
        says = await refused(ask(message(name="ader")), grpc.StatusCode.NOT_FOUND)
        assert says == "unknown model 'ader'; did you mean 'adder'?"
        await refused(ask(message(name="🐈" * 10_000)), grpc.StatusCode.NOT_FOUND)


async def test_load_returns_when_the_model_is_ready_and_unload_when_it_is_away() -> None:
    async with served("adder") as (w, models):
        loaded = (await models.LoadModel(pb.LoadModelRequest(name="adder"))).model
        assert loaded.state == pb.MODEL_STATE_READY
        unloaded = (await models.UnloadModel(pb.UnloadModelRequest(name="adder"))).model
        assert (unloaded.state, unloaded.state_reason) == (pb.MODEL_STATE_UNAVAILABLE, "unloaded")
        assert w.runtime().freed


async def test_a_client_that_cancels_its_load_does_not_stop_it() -> None:
    async with served("adder") as (w, models):
        w.loader.gate.clear()
        call = models.LoadModel(pb.LoadModelRequest(name="adder"))
        waiting = asyncio.ensure_future(call)
        await until(lambda: w.loader.loads["adder"])
        says = await refused(
            models.UnloadModel(pb.UnloadModelRequest(name="adder")), grpc.StatusCode.FAILED_PRECONDITION
        )
        assert "LOADING" in says
        call.cancel()
        await asyncio.wait([waiting])
        w.loader.gate.set()
        assert (await models.LoadModel(pb.LoadModelRequest(name="adder"))).model.state == pb.MODEL_STATE_READY
        assert w.loader.loads["adder"] == 1


# ── the catalog that ships ────────────────────────────────────────────────────────────────────────────────────────


async def test_every_card_that_ships_can_be_shown() -> None:
    async with world(load=False) as w:
        cards = {known.name: known for known in Catalog.from_package()}
        limits = w.registry._entries["adder"].limits
        registry = Registry(cards, lambda _: limits, w.loader, w.scheduler, w.recorder)  # type: ignore[arg-type]
        servicer: Any = ModelsServicer(registry)
        listed = await servicer.ListModels(pb.ListModelsRequest(), None)
        assert names_of(listed) == sorted(cards)
        for model in listed.models:
            assert model.summary
            assert model.origin.provenance
            assert model.origin.licence
            assert len(model.origin.weights_sha256) == 64
            assert not model.labels, "only GetModel fills them"
