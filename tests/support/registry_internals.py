"""What tests look at inside a registry, in one place: its parts are no interface."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from model_zoo.versions import Versions
from service.registry.model_record import ModelRecord
from service.registry.model_version import ModelVersion
from service.registry.versions.alias_book import AliasBook
from tests.support.registry_fakes import World


def use_versions(w: World, versions: Versions | Path) -> None:
    """Gives a running world a home for tuned versions."""
    cast(Any, w.registry)._versions = Versions(versions) if isinstance(versions, Path) else versions


def record_of(w: World, model: str) -> ModelRecord:
    return cast(ModelRecord, cast(Any, w.registry)._books[model])


def version_of(w: World, model: str, number: int = 1) -> ModelVersion:
    return record_of(w, model).entries[number]


def begin_unload(w: World, version: ModelVersion, reason: str) -> asyncio.Task[tuple[int, int]]:
    """As for another model's sake: a call brings it back."""
    task: asyncio.Task[tuple[int, int]] = cast(Any, w.registry)._begin_unload(version, reason, comes_back=True)
    return task


def writes_in_progress(w: World) -> int:
    """Changes of aliases that are not written yet."""
    return len(cast(Any, w.registry)._keeping)


def skip_looks(w: World) -> None:
    """A change looks no more at what other servers did."""
    cast(Any, w.registry)._look_now = lambda: asyncio.sleep(0)


def reported_damage(w: World) -> set[tuple[str, int]]:
    """Versions of which the log has said that they are damaged."""
    return set(cast(Any, w.registry)._complained)


def aliases_of(w: World) -> AliasBook:
    """Where the registry keeps its aliases."""
    return cast(AliasBook, cast(Any, w.registry)._aliases)


def set_damaged_cards(w: World, damaged: Mapping[str, str]) -> None:
    cast(Any, w.registry)._damaged_cards = dict(damaged)
