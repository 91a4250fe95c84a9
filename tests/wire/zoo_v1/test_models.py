"""zoo.v1.Models as a client sees it: listing, details, load, unload and options."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio

from model_zoo.cards.recipes import CategoryColumn, ImageRecipe, NumberColumn, RecordRecipe, RowRecipe
from model_zoo.catalog import Catalog
from service.engine.tier_report import TierReport
from service.errors import NotReady
from service.pb import models_pb2 as pb
from service.registry.composition import build_registry
from service.registry.loading.memory_ledger import Ledger
from service.wire.zoo_v1.models import ModelsServicer
from service.wire.zoo_v1.models_convert import write_inputs
from tests.support.registry.fakes import World, card, world
from tests.support.wire.calls import (
    detail,
    status_in,
    until,
    wired,
)

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


async def test_negative_page_size_is_refused_and_a_huge_one_is_bounded() -> None:
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
async def test_forged_page_token_is_refused(token: str) -> None:
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


async def test_model_shows_its_card_and_its_runtime() -> None:
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


async def test_unloaded_model_shows_the_reason_and_no_runtime() -> None:
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


async def test_load_returns_when_the_model_is_ready_and_unload_when_it_is_unloaded() -> None:
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


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def update(*paths: str, name: str = "adder", **options: Any) -> pb.UpdateModelRequest:
    request = pb.UpdateModelRequest(model=pb.Model(name=name, options=pb.ModelOptions(**options)))
    if paths:
        request.update_mask.paths.extend(paths)
    return request


async def test_a_model_shows_every_option_in_effect() -> None:
    async with served("adder", max_batch_size=3) as (_, models):
        options = (await models.GetModel(pb.GetModelRequest(name="adder"))).model.options
        assert all(options.HasField(field.name) for field in options.DESCRIPTOR.fields)
        assert (options.max_batch_size, options.weight, options.pinned, options.optimize) == (3, 1.0, False, "off")


async def test_options_that_are_set_are_changed_and_the_reply_shows_them() -> None:
    async with served("adder") as (w, models):
        await w.registry.load("adder")
        reply = await models.UpdateModel(update(max_batch_size=2, weight=0.5, pinned=True))
        shown = reply.model.options
        assert (shown.max_batch_size, shown.weight, shown.pinned) == (2, 0.5, True)
        assert reply.model.max_batch_size == 2
        assert list(reply.at_next_load) == []
        assert w.model().limits.max_batch_size == 2


async def test_update_mask_changes_and_resets_options() -> None:
    async with served("adder") as (_, models):
        await models.UpdateModel(update(max_batch_size=2, weight=3))
        shown = (await models.UpdateModel(update("options.weight", weight=5, max_batch_size=1))).model.options
        assert (shown.max_batch_size, shown.weight) == (2, 5)
        shown = (await models.UpdateModel(update("options.weight", "options.pinned", pinned=True))).model.options
        assert (shown.max_batch_size, shown.weight, shown.pinned) == (2, 1, True)
        for whole in ("options", "*"):
            shown = (await models.UpdateModel(update(whole, max_queue_size=9))).model.options
            assert (shown.max_batch_size, shown.pinned, shown.max_queue_size) == (4, False, 9)
        shown = (await models.UpdateModel(update())).model.options
        assert shown.max_queue_size == 9, "nothing was asked for"


async def test_options_that_wait_for_the_next_load_are_listed() -> None:
    async with served("adder") as (w, models):
        await w.registry.load("adder")
        reply = await models.UpdateModel(update(precision="fp32", weight=2))
        assert list(reply.at_next_load) == ["options.precision"]
        assert reply.model.options.precision == "fp32"


@pytest.mark.parametrize(
    ("request_", "field", "says"),
    [
        (update(weight=0), "options.weight", "expected a number greater than 0, got 0.0"),
        (update(max_batch_size=5), "options.max_batch_size", "the card's limit, got 5"),
        (update(precision="fp8"), "options.precision", "got 'fp8'"),
        (update("options.wieght"), "options.wieght", "did you mean 'weight'?"),
        (update("summary"), "update_mask.paths[0]", "such as 'options.weight', got 'summary'"),
        (update("options.weight", "options.", weight=2), "update_mask.paths[1]", "got 'options.'"),
        (update("options.weight.x", weight=2), "options.weight.x", "no such option"),
        (update("x" * 5000), "update_mask.paths[0]", "got 'xxx"),
        (update(name="", weight=2), "model.name", "is required"),
        (pb.UpdateModelRequest(), "model.name", "is required"),
    ],
)
async def test_a_wrong_change_names_its_field_and_changes_nothing(
    request_: pb.UpdateModelRequest, field: str, says: str
) -> None:
    async with served("adder") as (w, models):
        before = w.registry.status("adder").options
        told = await refused(models.UpdateModel(request_), grpc.StatusCode.INVALID_ARGUMENT, field)
        assert says in told
        assert w.registry.status("adder").options == before


async def test_options_of_an_unknown_model_are_not_found() -> None:
    async with served("adder") as (_, models):
        told = await refused(models.UpdateModel(update(name="ader", weight=2)), grpc.StatusCode.NOT_FOUND)
        assert "did you mean 'adder'?" in told


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_unload_reports_the_freed_memory() -> None:
    async with served("adder") as (w, models):
        await w.registry.load("adder")
        runtime = (await models.GetModel(pb.GetModelRequest(name="adder"))).model.runtime
        assert (runtime.memory_bytes, runtime.weights_bytes, runtime.HasField("growth_bytes")) == (4096, 4096, False)
        reply = await models.UnloadModel(pb.UnloadModelRequest(name="adder"))
        assert (reply.held_bytes, reply.freed_bytes) == (4096, 4096)
        reply = await models.UnloadModel(pb.UnloadModelRequest(name="adder"))
        assert (reply.held_bytes, reply.freed_bytes) == (0, 0)


async def test_load_without_memory_names_the_models_that_stay() -> None:
    sizes = {"a": 40, "b": 40}
    async with served(mib=sizes, ledger=Ledger(budget_mib=50)) as (w, models):
        await w.registry.load("a")
        w.registry.set_options("a", {"pinned": True})
        with pytest.raises(aio.AioRpcError) as caught:
            await models.LoadModel(pb.LoadModelRequest(name="b"))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "needs 40.0 MiB of the memory budget of 50 MiB" in (caught.value.details() or "")
        info = detail(status_in(caught.value), details.ErrorInfo)
        assert info is not None
        assert info.reason == "MEMORY_FULL"
        assert detail(status_in(caught.value), details.RetryInfo) is None


async def test_tier_report_of_a_model_is_shown() -> None:
    async with served("adder") as (w, models):
        await w.registry.load("adder")
        w.model().tier_report = TierReport(
            "compiled",
            "bf16",
            "compiled bf16",
            2.5,
            250.0,
            100.0,
            1.5,
            0.01,
            0.9999,
            None,
            30.0,
            processes=2,
            length_step=16,
        )
        w.registry.refresh("adder")
        shown = (await models.GetModel(pb.GetModelRequest(name="adder"))).model.runtime.evidence
        assert (shown.tier, shown.precision, shown.speedup, shown.cosine) == ("compiled", "bf16", 2.5, 0.9999)
        assert (shown.rows_per_second, shown.rows_per_second_before) == (250, 100)
        assert (shown.HasField("top1_agreement"), shown.compile_duration.seconds) == (False, 30)
        assert (shown.processes, shown.length_step) == (2, 16)


# ── the catalog that ships ────────────────────────────────────────────────────────────────────────────────────────


async def test_model_of_rows_or_records_shows_its_columns() -> None:
    row = RowRecipe(
        kind="row",
        numbers=(NumberColumn(name="rooms", mean=0, std=1, fill=0),),
        categories=(CategoryColumn(name="town", categories=("Bonn", "Ulm")),),
        target="rent",
        ignored=("id",),
    )
    photos = Catalog.from_package().get("efficientnet_lite0")
    assert isinstance(photos.recipe, ImageRecipe)
    for recipe in (row, RecordRecipe(kind="record", image=photos.recipe, row=row)):
        message = pb.Model()
        write_inputs(message, photos.model_copy(update={"recipe": recipe}))
        assert [(c.name, c.kind, list(c.categories)) for c in message.columns] == [
            ("rooms", "number", []),
            ("town", "category", ["Bonn", "Ulm"]),
        ]
        assert (message.target_column, list(message.ignored_columns)) == ("rent", ["id"])
    message = pb.Model()
    write_inputs(message, photos)
    assert message == pb.Model()


async def test_network_that_reads_no_ordinary_sentence_says_what_it_reads() -> None:
    """Residues with the card's own mask."""
    message = pb.Model()
    write_inputs(message, Catalog.from_package().get("protein_roberta"))
    assert "<mask>" in message.sample_text
    assert " " not in message.sample_text


async def test_every_card_that_ships_can_be_shown() -> None:
    async with world(load=False) as w:
        cards = {known.name: known for known in Catalog.from_package()}
        options = w.registry.status("adder").options
        registry = build_registry(cards, lambda _: options, w.loader, w.scheduler, w.recorder)  # type: ignore[arg-type]
        servicer: Any = ModelsServicer(registry)
        listed = await servicer.ListModels(pb.ListModelsRequest(), None)
        assert names_of(listed) == sorted(cards)
        for model in listed.models:
            assert model.summary
            assert model.origin.provenance
            assert model.origin.licence
            # An architecture that comes without weights has no digest of any.
            assert len(model.origin.weights_sha256) == (0 if cards[model.name].source.kind == "initial" else 64)
            assert not model.labels, "only GetModel fills them"
