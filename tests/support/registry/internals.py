"""What tests look at inside a registry, in one place: its parts are no interface."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from model_zoo.versions import Versions
from service.registry.model_record import ModelRecord
from service.registry.model_version import ModelVersion
from service.registry.versions.alias_writer import AliasWriter
from service.registry.versions.revisioned_aliases import AliasStorage
from service.registry.versions.version_folders import VersionFolders
from tests.support.registry.fakes import World


def _folders(w: World) -> VersionFolders:
    return cast(VersionFolders, cast(Any, w.registry)._discovery._folders)


def _writer(w: World) -> AliasWriter:
    return cast(AliasWriter, cast(Any, w.registry)._writer)


def use_versions(w: World, versions: Versions | Path) -> None:
    """Gives a running world a home for tuned versions."""
    _folders(w).versions = Versions(versions) if isinstance(versions, Path) else versions


def record_of(w: World, model: str) -> ModelRecord:
    return cast(ModelRecord, cast(Any, w.registry)._table.record(model))


def version_of(w: World, model: str, number: int = 1) -> ModelVersion:
    return record_of(w, model).versions[number]


def begin_unload(w: World, version: ModelVersion, reason: str) -> asyncio.Task[tuple[int, int]]:
    """As for another model's sake: a call brings it back."""
    unloader = cast(Any, w.registry)._loads._unloader
    task: asyncio.Task[tuple[int, int]] = unloader.begin(version, reason, reloads_on_call=True)
    return task


def writes_in_progress(w: World) -> int:
    """Changes of aliases that are not written yet."""
    return len(cast(Any, _writer(w))._writes)


def skip_looks(w: World) -> None:
    """A change looks no more at what other servers did."""
    cast(Any, w.registry)._sync.look_now = lambda: asyncio.sleep(0)


def reported_damage(w: World) -> set[tuple[str, int]]:
    """Versions of which the log has said that they are damaged."""
    return set(cast(Any, _folders(w))._reported)


def aliases_of(w: World) -> AliasStorage:
    """Where the registry keeps its aliases."""
    return cast(AliasStorage, cast(Any, _writer(w))._storage)


def set_damaged_cards(w: World, damaged: Mapping[str, str]) -> None:
    cast(Any, _folders(w).damaged)._damaged_cards = dict(damaged)
