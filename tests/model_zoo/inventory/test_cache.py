"""The cache is listed with its users, and only what nobody uses may go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.inventory.cache import CacheItem, cache_items, remove_item
from model_zoo.sources.hub import snapshot_folder
from model_zoo.store import Store
from tests.support.model_zoo.pulled_cards import COMMIT, add_card, add_weights, pulled_card


def add_version(home: Path, number: int, base_digest: str) -> None:
    folder = home / "versions" / "tuned" / str(number)
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"source": {"kind": "tuned", "base_digest": base_digest}}))


def unused(home: Path) -> dict[str, CacheItem]:
    return {item.path.relative_to(home).as_posix(): item for item in cache_items(home) if not item.users}


def test_empty_home_has_no_cache(tmp_path: Path) -> None:
    assert cache_items(tmp_path / "none") == []


def test_weights_are_listed_with_the_models_that_use_them(tmp_path: Path) -> None:
    shipped, pulled = Catalog.from_package().get("silero_vad"), pulled_card()
    add_weights(tmp_path, shipped, "a" * 64)
    add_card(tmp_path, pulled)
    add_weights(tmp_path, pulled, "b" * 64)
    add_version(tmp_path, 3, "b" * 64)
    [first, second] = cache_items(tmp_path)
    assert (first.kind, first.name, first.digest, first.users) == ("weights", "silero_vad", "a" * 64, ("silero_vad",))
    assert (second.name, second.users) == ("tiny", ("tiny", "tuned/3"))
    assert second.bytes > 1000


def test_weights_without_a_card_or_a_version_are_unused_with_their_pointer(tmp_path: Path) -> None:
    card = pulled_card()
    folder = add_weights(tmp_path, card, "b" * 64)
    found = unused(tmp_path)
    assert found.keys() == {f"weights/{'b' * 64}", Store(tmp_path).pointer(card).relative_to(tmp_path).as_posix()}
    assert found[f"weights/{'b' * 64}"].name == "tiny"
    for item in found.values():
        remove_item(item)
    assert not folder.exists()
    assert cache_items(tmp_path) == []


def test_weights_with_other_companions_belong_to_their_own_card(tmp_path: Path) -> None:
    first, second = pulled_card("first"), pulled_card("second")
    add_card(tmp_path, first)
    add_weights(tmp_path, first, "b" * 64)
    add_weights(tmp_path, second, f"{'b' * 64}-0123456789abcdef")
    assert f"weights/{'b' * 64}" not in unused(tmp_path)
    assert f"weights/{'b' * 64}-0123456789abcdef" in unused(tmp_path)


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"source": []}'])
def test_version_that_cannot_be_read_keeps_all_weights(content: str, tmp_path: Path) -> None:
    add_weights(tmp_path, pulled_card(), "b" * 64)
    add_version(tmp_path, 1, "b" * 64)
    (tmp_path / "versions/tuned/1/card.json").write_text(content)
    (item,) = (item for item in cache_items(tmp_path) if item.kind == "weights")
    assert item.users == ("perhaps tuned/1, which cannot be read",)


def test_damaged_card_keeps_its_weights(tmp_path: Path) -> None:
    card = pulled_card()
    add_weights(tmp_path, card, "b" * 64)
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/tiny.yaml").write_text("name: [")
    assert unused(tmp_path) == {}


@pytest.mark.parametrize("gone", ["aaa", "zzz"])
def test_damaged_card_keeps_weights_that_a_removed_card_had_as_well(gone: str, tmp_path: Path) -> None:
    add_weights(tmp_path, pulled_card(gone), "b" * 64)
    add_weights(tmp_path, pulled_card(), "b" * 64)
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/tiny.yaml").write_text("name: [")
    assert not any(path.startswith(f"weights/{'b' * 64}") for path in unused(tmp_path))


def test_download_is_kept_for_a_model_that_is_not_here_yet(tmp_path: Path) -> None:
    card = pulled_card()
    add_card(tmp_path, card)
    awaited = tmp_path / "downloads" / snapshot_folder("org/tiny", COMMIT)
    for folder in (awaited, tmp_path / "downloads" / "org--other-000000000000"):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x")
    artifact = Catalog.from_package().get("silero_vad").source
    assert artifact.kind == "pypi"
    (tmp_path / "downloads" / artifact.artifact).write_bytes(b"x")
    (tmp_path / "downloads" / f"{artifact.artifact}.part").write_bytes(b"x")
    (tmp_path / "downloads" / f".{artifact.artifact}.lock").touch()
    assert set(unused(tmp_path)) == {"downloads/org--other-000000000000", f"downloads/{artifact.artifact}.part"}
    add_weights(tmp_path, card, "b" * 64)
    assert f"downloads/{awaited.name}" in unused(tmp_path), "it is converted"


def test_leftovers_of_killed_processes_are_unused(tmp_path: Path) -> None:
    for path in ("weights/.staging-0123-ab/model.safetensors", "weights/by-card/.x.json-ab", "cards/.tiny-ab"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    (tmp_path / "cards/.tiny.lock").touch()
    assert set(unused(tmp_path)) == {"weights/.staging-0123-ab", "weights/by-card/.x.json-ab", "cards/.tiny-ab"}


def test_link_is_removed_without_what_it_names(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * 5000)
    (tmp_path / "home/downloads").mkdir(parents=True)
    (tmp_path / "home/downloads/link").symlink_to(outside)
    [item] = cache_items(tmp_path / "home")
    assert item.bytes < 5000
    remove_item(item)
    assert (outside / "precious").exists()
    assert cache_items(tmp_path / "home") == []
