"""Versions over the wire: listed, reported, aliased, tried out, taken back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio

from model_zoo.catalog import Catalog
from service.access.principal import ANYONE, Principal, current_principal
from service.access.scopes import Scope
from service.errors import IllegalMove, NotFound, PermissionDenied
from service.pb import models_pb2 as pb
from service.registry.model_status import (
    ModelStatus,
    Traffic,
    VersionReport,
    VersionStatus,
)
from service.registry.states import ModelState
from service.wire.open_inference.model_config import index
from service.wire.zoo_v1.models import ModelsServicer
from service.wire.zoo_v1.models_convert import write_model
from tests.support.wire.calls import detail, status_in, wired
from tests.support.wire.fakes import status

pytestmark = pytest.mark.asyncio
NOW = 1_770_000_000.5
LINEAGE = {
    "base": "mobilenetv2_100",
    "base_sha256": "a" * 64,
    "dataset_id": "d1",
    "dataset_sha256": "b" * 64,
    "method": "head",
    "job_id": "j1",
    "seed": 7,
    "hyperparameters": {"epochs": 5, "weight_decay": None, "layers": (1, 2)},
    "zoo_version": "0.1.0",
    "task": "image-classification",
    "metrics": {"accuracy": 0.9, "r2": None},
    "baseline_metrics": {"accuracy": 0.5},
    "rival": None,
    "created": NOW,
    "training_seconds": 2.5,
}


class FakeVersions:
    """One model, `pets`, with versions 1 and 2."""

    def __init__(self) -> None:
        card = Catalog.from_package().get("efficientnet_lite0")
        self.model = replace(
            status(card), name="pets", base="mobilenetv2_100", versions=(1, 2), aliases={"stable": 1, "best": 2},
            traffic=Traffic(stable=1, canary=2, canary_share=0.25, rolled_back_reason="it was slow"),
        )  # fmt: skip
        self.called: list[Any] = []

    def status(self, name: str, version: str = "") -> ModelStatus:
        if name != "pets":
            raise NotFound("model", name, ["pets"])
        return self.model

    async def seek(self, name: str, version: str = "") -> None:
        """There are no other servers."""

    def versions(self, name: str) -> list[VersionStatus]:
        self.status(name)
        return [
            VersionStatus(
                number=1,
                state=ModelState.UNAVAILABLE,
                reason="not loaded",
                aliases=("stable",),
                lineage=LINEAGE,
                created=NOW,
                size_bytes=1000,
            ),
            VersionStatus(number=2, state=ModelState.READY, reason="", aliases=("best",), memory_bytes=50),
        ]

    async def survey(self, name: str) -> list[VersionStatus]:
        return self.versions(name)

    def damaged_models(self) -> dict[str, str]:
        return {}

    async def report(self, name: str, version: str = "") -> VersionReport:
        self.called.append((name, version))
        report = {"task": "regression", "metrics": {"mae": {"value": 1.5, "low": float("nan")}}, "curves": [[1, 2]]}
        return VersionReport(2, report, b"<html>")

    async def delete_version(self, name: str, number: int) -> int:
        if number == 1:
            raise IllegalMove("version 1 of 'pets' is named by the alias 'stable'")
        return 1000

    async def set_alias(self, name: str, alias: str, number: int) -> ModelStatus:
        return replace(self.status(name), aliases={alias: number})

    async def delete_alias(self, name: str, alias: str) -> ModelStatus:
        return replace(self.status(name), aliases={})

    async def rollback(self, name: str) -> tuple[ModelStatus, int]:
        return self.status(name), 2

    async def set_traffic(self, name: str, canary: int, share: float) -> ModelStatus:
        self.called.append((name, canary, share))
        return replace(self.status(name), traffic=Traffic(1, canary, share))


@asynccontextmanager
async def served() -> AsyncIterator[tuple[FakeVersions, Any]]:
    registry = FakeVersions()
    async with wired(registry=registry) as wire:
        yield registry, wire.models


async def refused(call: Any, field: str) -> str:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
    bad = detail(status_in(caught.value), details.BadRequest)
    assert bad is not None
    assert bad.field_violations[0].field == field
    return bad.field_violations[0].description


async def test_versions_are_listed_the_newest_first_with_their_lineage() -> None:
    async with served() as (_, models):
        reply = await models.ListVersions(pb.ListVersionsRequest(model="pets"))
        second, first = reply.versions
        assert (second.number, second.state, list(second.aliases)) == (2, pb.MODEL_STATE_READY, ["best"])
        assert (second.memory_bytes, second.HasField("lineage"), second.HasField("create_time")) == (50, False, False)
        assert (first.state_reason, first.size_bytes) == ("not loaded", 1000)
        assert first.create_time.ToNanoseconds() == int(NOW * 1e9)
        lineage = first.lineage
        assert (lineage.base, lineage.method, lineage.job_id, lineage.seed) == ("mobilenetv2_100", "head", "j1", 7)
        assert dict(lineage.hyperparameters) == {"epochs": 5, "weight_decay": None, "layers": [1, 2]}
        assert (dict(lineage.metrics), dict(lineage.baseline_metrics)) == ({"accuracy": 0.9}, {"accuracy": 0.5})
        assert lineage.training_duration.ToTimedelta().total_seconds() == 2.5
        assert (reply.traffic.canary, reply.traffic.canary_share) == (2, 0.25)


async def test_model_shows_its_base_and_its_traffic() -> None:
    model = write_model(FakeVersions().model)
    assert (model.base, list(model.versions), dict(model.aliases)) == (
        "mobilenetv2_100",
        [1, 2],
        {"stable": 1, "best": 2},
    )
    assert model.traffic == pb.Traffic(stable=1, canary=2, canary_share=0.25, rolled_back_reason="it was slow")


async def test_report_has_a_struct_and_html() -> None:
    async with served() as (registry, models):
        reply = await models.GetReport(pb.GetReportRequest(model="pets", version="best"))
        assert registry.called == [("pets", "best")]
        assert (reply.version, reply.html, reply.report["task"]) == (2, b"<html>", "regression")
        assert reply.report["metrics"]["mae"]["low"] is None, "JSON knows no NaN"


async def test_alias_traffic_and_rollback_calls_return_the_changed_model() -> None:
    async with served() as (registry, models):
        reply = await models.SetAlias(pb.SetAliasRequest(model="pets", alias="stable", version=2))
        assert dict(reply.model.aliases) == {"stable": 2}
        reply = await models.DeleteAlias(pb.DeleteAliasRequest(model="pets", alias="best"))
        assert not reply.model.aliases
        assert (await models.RollbackModel(pb.RollbackModelRequest(model="pets"))).rolled_back == 2
        reply = await models.SetTraffic(pb.SetTrafficRequest(model="pets", canary=2, canary_share=0.5))
        assert (reply.model.traffic.canary, reply.model.traffic.canary_share) == (2, 0.5)
        await models.SetTraffic(pb.SetTrafficRequest(model="pets"))
        assert registry.called == [("pets", 2, 0.5), ("pets", 0, 0.0)]
        assert (await models.DeleteVersion(pb.DeleteVersionRequest(model="pets", version=2))).freed_bytes == 1000


async def test_impossible_values_are_refused_with_the_field() -> None:
    async with served() as (registry, models):
        for request in (pb.ListVersionsRequest, pb.GetReportRequest, pb.RollbackModelRequest):
            call = getattr(models, request.__name__.removesuffix("Request"))
            assert await refused(call(request()), "model") == "is required"
        await refused(models.DeleteVersion(pb.DeleteVersionRequest(model="pets")), "version")
        await refused(models.DeleteVersion(pb.DeleteVersionRequest(version=1)), "model")
        for alias in ("Stable", "1st", "a b", "a" * 64, "ä"):
            await refused(models.SetAlias(pb.SetAliasRequest(model="pets", alias=alias, version=1)), "alias")
            await refused(models.DeleteAlias(pb.DeleteAliasRequest(model="pets", alias=alias)), "alias")
        await refused(models.SetAlias(pb.SetAliasRequest(model="pets", alias="best", version=-1)), "version")
        for share in (-0.1, 1.1, float("nan"), float("inf")):
            await refused(
                models.SetTraffic(pb.SetTrafficRequest(model="pets", canary=2, canary_share=share)), "canary_share"
            )
        await refused(models.SetTraffic(pb.SetTrafficRequest(model="pets", canary_share=0.1)), "canary")
        assert not registry.called


async def test_version_with_an_alias_is_not_deleted() -> None:
    async with served() as (_, models):
        with pytest.raises(aio.AioRpcError) as caught:
            await models.DeleteVersion(pb.DeleteVersionRequest(model="pets", version=1))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        with pytest.raises(aio.AioRpcError) as caught:
            await models.ListVersions(pb.ListVersionsRequest(model="petz"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "did you mean 'pets'" in (caught.value.details() or "")


async def test_the_index_of_open_inference_has_every_version_with_its_own_state() -> None:
    registry = FakeVersions()
    zoo_model = status(registry.model.card, ModelState.UNAVAILABLE)
    known = [(registry.model, registry.versions("pets")), (zoo_model, [])]
    entries = [(m.name, m.version, m.state, m.reason) for m in index(known, ready=False).models]
    assert entries == [
        ("pets", "1", "UNAVAILABLE", "not loaded"),
        ("pets", "2", "READY", ""),
        (zoo_model.name, "", "UNAVAILABLE", "not loaded"),
    ]
    assert [(m.name, m.version) for m in index(known, ready=True).models] == [("pets", "2")]


# ── whose data a report shows ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("principal", "permitted"),
    [
        (ANYONE, True),
        (Principal("ann", frozenset({Scope.INFER})), True),
        (Principal("bob", frozenset({Scope.INFER, Scope.FINETUNE})), False),
        (Principal("bob", frozenset({Scope.MODELS})), True),
        (Principal("root", frozenset({Scope.ADMIN})), True),
    ],
    ids=["without tokens", "its owner", "another", "who runs models", "an admin"],
)
@pytest.mark.parametrize("known", [True, False])
async def test_report_is_for_the_owner_of_its_data_and_for_those_who_run_models(
    principal: Principal, permitted: bool, known: bool
) -> None:
    async def owner_of(model: str, number: int) -> str | None:
        assert (model, number) == ("pets", 2)
        return "ann" if known else None

    servicer = ModelsServicer(cast(Any, FakeVersions()), owner_of)
    request = pb.GetReportRequest(model="pets", version="best")
    token = current_principal.set(principal)
    try:
        if permitted and (known or principal.name != "ann"):
            assert (await servicer.GetReport(request, cast(Any, None))).html == b"<html>"
        else:
            with pytest.raises(PermissionDenied, match="another principal"):
                await servicer.GetReport(request, cast(Any, None))
    finally:
        current_principal.reset(token)
