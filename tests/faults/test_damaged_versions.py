"""Damage of a version's files, of its alias rows or of a card is reported, and harms no other version."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from model_zoo.catalog import Catalog
from model_zoo.versions import Versions
from service.errors import NotFound
from service.pb import models_pb2 as pb
from tests.support.registry.damaged_home import (
    MODEL,
    code_of,
    database_at,
    execute,
    fault_server,
    is_a_reason,
    make_database,
    make_datasets,
    make_versions,
)
from tests.support.registry.internals import aliases_of, set_damaged_cards
from tests.support.registry.tuned_versions import write_manifest

pytestmark = pytest.mark.asyncio

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_versions(home)
    make_database(home)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home"))


def resealed(damage: Damage) -> Damage:
    """The damage, with a manifest that agrees with it: sizes and digests do not show it."""

    def both(folder: Path) -> None:
        damage(folder)
        write_manifest(folder)

    return both


def with_fields(name: str, /, **changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(document | changes))

    return resealed(damage)


def replaced(make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        make(folder)

    return damage


def a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


DAMAGES: dict[str, Damage] = {
    "manifest missing": lambda f: (f / "manifest.json").unlink(),
    "manifest empty": lambda f: (f / "manifest.json").write_bytes(b""),
    "manifest no json": lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"),
    "manifest deep": lambda f: (f / "manifest.json").write_bytes(b"[" * 100_000),
    "manifest a list": lambda f: (f / "manifest.json").write_text("[]"),
    "manifest of wrong types": lambda f: (f / "manifest.json").write_text('{"files": {"weights": 3}}'),
    "manifest names paths": lambda f: (f / "manifest.json").write_text('{"files": {"a": {"name": "../../x"}}}'),
    "manifest a folder": a_folder("manifest.json"),
    "card missing": lambda f: (f / "card.json").unlink(),
    "card cut": lambda f: (f / "card.json").write_text("{"),
    "card no json": resealed(lambda f: (f / "card.json").write_text("hello")),
    "card empty": resealed(lambda f: (f / "card.json").write_bytes(b"")),
    "card a folder": a_folder("card.json"),
    "card with nan": with_fields("card.json", tolerance={"max_abs_error": float("nan")}),
    "card with infinity": with_fields("card.json", target={"mean": float("inf"), "std": 1.0}),
    "card of another": with_fields("card.json", name="other"),
    "card with an unknown field": with_fields("card.json", hologram=1),
    "card of wrong types": with_fields("card.json", labels=7),
    "lineage missing": lambda f: (f / "lineage.json").unlink(),
    "lineage no json": resealed(lambda f: (f / "lineage.json").write_text("hello")),
    "lineage with nan": with_fields("lineage.json", metrics={"accuracy": float("nan")}),
    "lineage a list": resealed(lambda f: (f / "lineage.json").write_text("[1]")),
    "weights missing": lambda f: (f / "model.safetensors").unlink(),
    "weights cut": lambda f: (f / "model.safetensors").write_bytes(b"xy"),
    "weights a link": lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").symlink_to("card.json")),
    "folder empty": replaced(lambda f: f.mkdir()),
    "folder a file": replaced(lambda f: f.write_text("x")),
    "folder a dead link": replaced(lambda f: f.symlink_to("nowhere")),
}


async def listed(h: Any, model: str = MODEL) -> dict[int, Any]:
    return {v.number: v for v in (await h.models.ListVersions(pb.ListVersionsRequest(model=model))).versions}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_damaged_version_is_listed_and_deleted_without_harm_to_others(home: Path, damage: Damage) -> None:
    damage(home / "versions" / MODEL / "1")
    async with fault_server(home) as h:
        versions = await listed(h)
        assert set(versions) == {1, 2}
        assert is_a_reason(versions[1].damaged, home)
        assert versions[1].state == pb.MODEL_STATE_UNAVAILABLE
        assert (versions[2].damaged, versions[2].lineage.method) == ("", "head")
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=2))
        assert await code_of(h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="best", version=1))) in (
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.UNAVAILABLE,
        )
        assert (
            await code_of(h.models.GetReport(pb.GetReportRequest(model=MODEL, version="1")))
            is grpc.StatusCode.NOT_FOUND
        )
        assert (await h.models.GetModel(pb.GetModelRequest(name=MODEL))).model.aliases == {"stable": 2}
        assert len((await h.models.ListModels(pb.ListModelsRequest())).models) == 2
        await h.models.DeleteVersion(pb.DeleteVersionRequest(model=MODEL, version=1))
        assert set(await listed(h)) == {2}
        assert await code_of(h.models.DeleteVersion(pb.DeleteVersionRequest(model=MODEL, version=1))) is (
            grpc.StatusCode.NOT_FOUND
        )
    assert [p.name for p in (home / "versions" / MODEL).iterdir() if not p.name.startswith(".")] == ["2"]


SOME = (
    "manifest missing",
    "card missing",
    "card no json",
    "lineage no json",
    "weights cut",
    "folder empty",
    "folder a file",
)


@pytest.mark.parametrize("damage", [DAMAGES[name] for name in SOME], ids=SOME)
async def test_version_damaged_while_it_serves_is_reported_and_can_be_deleted(home: Path, damage: Damage) -> None:
    async with fault_server(home) as h:
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="best", version=1))
        damage(home / "versions" / MODEL / "1")
        versions = await listed(h)
        assert is_a_reason(versions[1].damaged, home)
        assert not versions[2].damaged
        await h.models.DeleteAlias(pb.DeleteAliasRequest(model=MODEL, alias="best"))
        await h.models.DeleteVersion(pb.DeleteVersionRequest(model=MODEL, version=1))
        assert set(await listed(h)) == {2}


@pytest.mark.parametrize("value", ["seed", "metrics", "training_seconds", "hyperparameters", "created"])
async def test_lineage_with_wrong_types_is_reported(home: Path, value: str) -> None:
    for number, wrong in ((1, "many"), (2, 10**30)):
        with_fields("lineage.json", **{value: wrong})(home / "versions" / MODEL / str(number))
    async with fault_server(home) as h:
        versions = await listed(h)
        assert set(versions) == {1, 2}
        assert all(v.damaged == "" or is_a_reason(v.damaged, home) for v in versions.values())
        await h.models.DeleteVersion(pb.DeleteVersionRequest(model=MODEL, version=1))


async def test_model_with_only_damaged_versions_is_listed_and_can_be_deleted(home: Path) -> None:
    async with fault_server(home) as h:
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=2))
    for number in ("1", "2"):
        (home / "versions" / MODEL / number / "card.json").unlink()
    async with fault_server(home) as h:
        models = {m.name: m for m in (await h.models.ListModels(pb.ListModelsRequest())).models}
        assert set(models) == {"adder", MODEL}
        assert is_a_reason(models[MODEL].damaged, home)
        assert models[MODEL].state == pb.MODEL_STATE_UNAVAILABLE
        assert not models["adder"].damaged
        shown = (await h.models.GetModel(pb.GetModelRequest(name=MODEL))).model
        assert shown.damaged == models[MODEL].damaged
        with pytest.raises(NotFound, match=r"version 2 is damaged: card\.json is missing, and so is 1 other"):
            await h.world.registry.acquire(MODEL)
        assert set(await listed(h)) == {1, 2}
        for number in (2, 1):  # also the one that `stable` names: there is nothing else to point it at
            await h.models.DeleteVersion(pb.DeleteVersionRequest(model=MODEL, version=number))
        assert [m.name for m in (await h.models.ListModels(pb.ListModelsRequest())).models] == ["adder"]
        assert await code_of(h.models.ListVersions(pb.ListVersionsRequest(model=MODEL))) is grpc.StatusCode.NOT_FOUND
        assert (await aliases_of(h.world).read())[MODEL].aliases.targets == {}


async def test_call_to_an_alias_of_a_damaged_version_reports_the_damage(home: Path) -> None:
    async with fault_server(home) as h:
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=1))
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="best", version=1))
    (home / "versions" / MODEL / "1" / "card.json").unlink()
    async with fault_server(home) as h:
        for alias in ("", "stable", "best"):
            with pytest.raises(NotFound, match=r"version 1, which it names, is damaged: card\.json is missing"):
                await h.world.registry.acquire(MODEL, alias)
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=2))
        assert (await h.world.registry.acquire(MODEL)).version == 2


async def test_repaired_version_serves_again(home: Path) -> None:
    card = home / "versions" / MODEL / "1" / "card.json"
    whole = card.read_bytes()
    card.write_bytes(b"{")
    async with fault_server(home) as h:
        assert (await listed(h))[1].damaged
        card.write_bytes(whole)
        await h.world.registry.look()
        assert not (await listed(h))[1].damaged
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=1))


async def test_foreign_files_beside_versions_are_ignored(home: Path) -> None:
    folder = home / "versions"
    (folder / "README").write_text("x")
    (folder / "a_file").write_text("x")
    (folder / "empty").mkdir()
    (folder / MODEL / "notes").mkdir()
    (folder / MODEL / ".deleted-7-x").write_text("x")
    (folder / MODEL / ".last").unlink()
    (folder / MODEL / ".last").mkdir()
    async with fault_server(home) as h:
        assert set(await listed(h)) == {1, 2}
    make_versions(home)
    assert Versions(home).numbers(MODEL) == [1, 2, 3, 4]
    assert not (folder / MODEL / ".deleted-7-x").exists()


VALUES: dict[str, object] = {
    "text": "x",
    "bytes": b"\xff\xfe",
    "negative": -3,
    "endless": 9e999,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("aliases", "version"),
        ("aliases", "updated"),
        ("alias_moves", "from_version"),
        ("alias_moves", "to_version"),
        ("alias_moves", "reason"),
        ("alias_moves", "alias"),
        ("traffic", "canary_share"),
        ("traffic", "revision"),
        ("traffic", "updated"),
    ],
)
async def test_damaged_alias_rows_do_not_break_lists_and_can_be_set_again(
    home: Path, table: str, column: str, value: object
) -> None:
    async with fault_server(home) as h:
        for number in (1, 2, 1):
            await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=number))
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="best", version=2))
    execute(home, f"UPDATE {table} SET {column} = ?", value)
    async with fault_server(home) as h:
        assert set(await listed(h)) == {1, 2}
        await h.models.ListModels(pb.ListModelsRequest())
        model = (await h.models.GetModel(pb.GetModelRequest(name=MODEL))).model
        assert table == "aliases" or model.aliases == {"stable": 1, "best": 2}
        assert model.traffic.canary_share == 0
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=2))
        await h.models.DeleteAlias(pb.DeleteAliasRequest(model=MODEL, alias="best"))
        await h.models.SetTraffic(pb.SetTrafficRequest(model=MODEL, canary=1, canary_share=0.5))
        assert await code_of(h.models.RollbackModel(pb.RollbackModelRequest(model=MODEL))) in (
            grpc.StatusCode.OK,
            grpc.StatusCode.FAILED_PRECONDITION,
        )
        await h.world.registry.look()
        assert (await h.models.GetModel(pb.GetModelRequest(name=MODEL))).model.aliases["stable"] in (1, 2)


@pytest.mark.parametrize(
    "content",
    [b"", b"name: [", b"\xff\xfe", b"[1]", b"name: x\n", b"a: " + b"[" * 10_000, None],
    ids=["empty", "no yaml", "no text", "a list", "fields missing", "deep", "a folder"],
)
async def test_damaged_catalog_card_leaves_the_other_models(tmp_path: Path, content: bytes | None) -> None:
    folder = Path(shutil.copytree(Path(__file__).parents[2] / "model_zoo" / "cards", tmp_path / "catalog"))
    victim = folder / "efficientnet_lite0.yaml"
    victim.unlink()
    victim.mkdir() if content is None else victim.write_bytes(content)
    catalog = Catalog.readable(folder)
    assert catalog.names() == [name for name in Catalog.from_package().names() if name != "efficientnet_lite0"]
    assert is_a_reason(catalog.damaged["efficientnet_lite0"][:199], tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    async with fault_server(home) as h:
        set_damaged_cards(h.world, catalog.damaged)
        models = {m.name: m.damaged for m in (await h.models.ListModels(pb.ListModelsRequest())).models}
        assert models.keys() == {"adder", "efficientnet_lite0"}
        assert models["efficientnet_lite0"].startswith("its card is damaged: ")
        assert models["adder"] == ""


async def test_intact_home_reports_no_damage(home: Path) -> None:
    make_datasets(home)
    database_at(home).close()
    async with fault_server(home) as h:
        assert not any(v.damaged for v in (await listed(h)).values())
        assert not any(m.damaged for m in (await h.models.ListModels(pb.ListModelsRequest())).models)
    assert not Catalog.readable().damaged


async def test_version_that_needs_a_newer_zoo_is_said_so_while_the_others_serve(home: Path) -> None:
    async with fault_server(home) as h:
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="stable", version=2))
        await h.models.SetAlias(pb.SetAliasRequest(model=MODEL, alias="next", version=1))
    with_fields("card.json", hologram=1)(home / "versions" / MODEL / "1")
    with_fields("lineage.json", zoo_version="99.0.0")(home / "versions" / MODEL / "1")
    why = "it needs Zoo 99.0.0 or newer, which published it"
    async with fault_server(home) as h:
        newer = (await listed(h))[1]
        assert (newer.state, newer.state_reason) == (pb.MODEL_STATE_UNAVAILABLE, why)
        with pytest.raises(NotFound, match=f"version 1, which it names, cannot be served: {why}"):
            await h.world.registry.acquire(MODEL, "next")
        assert (await h.world.registry.acquire(MODEL)).version == 2
