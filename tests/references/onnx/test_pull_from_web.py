"""An ONNX file at an address is pulled by its digest, locked, and fetched again where it was lost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.errors import DigestMismatch, InvalidLock, NotAsLocked, NotDerivable, SourceNotFound, SourceUnavailable
from model_zoo.inventory.cache import cache_items
from model_zoo.inventory.lock_file import difference, read_lock, text_of_lock
from model_zoo.references.reference import Reference, parse_reference
from model_zoo.store import Store
from service.references.locked_pull import pull_locked
from service.references.onnx import file_process, located
from service.references.pull import pull_reference
from tests.support.model_zoo.web_files import WebFiles, web_files
from tests.support.references.onnx_files import mlp_file, product, saved
from tests.support.references.onnx_models import reply


@pytest.fixture(autouse=True)
def worker_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process: starting another one takes seconds."""
    monkeypatch.setattr(file_process, "reply_of", reply)
    monkeypatch.setattr("model_zoo.sources.download.time.sleep", lambda seconds: None)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebFiles]:
    with web_files() as found:
        found.files["/models/Tiny-1.onnx"] = mlp_file(tmp_path / "network.onnx").read_bytes()
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def reference(web: WebFiles, digest: str = "") -> Reference:
    found = digest or hashlib.sha256(web.files["/models/Tiny-1.onnx"]).hexdigest()
    return parse_reference(f"onnx:{web.url}/models/Tiny-1.onnx#sha256={found}")


def leftovers(home: Path) -> list[str]:
    return sorted(p.name for p in home.rglob("*") if p.is_file() and not p.name.endswith(".lock"))


def test_file_of_the_web_is_pulled_pinned_and_fetched_again_where_lost(web: WebFiles, home: Path) -> None:
    found = pull_reference(reference(web), home)
    source = found.card.source
    assert (found.card.name, found.card.reference) == ("tiny_1", str(reference(web)))
    assert source.kind == "url"
    assert source.url == f"{web.url}/models/Tiny-1.onnx"
    assert found.files.weights.read_bytes() == web.files["/models/Tiny-1.onnx"]
    assert source.url in found.card.provenance
    assert Catalog.of_home(home).get("tiny_1") == found.card
    assert not list((home / "downloads").glob("[!.]*")), "what was fetched is removed once it is kept"
    asked = len(web.requests)
    assert pull_reference(reference(web), home).already
    assert len(web.requests) == asked
    Store(home).remove(found.card)
    assert [item.kind for item in cache_items(home)] == []
    assert pull_reference(reference(web), home).files.digest == found.files.digest


def test_broken_transfer_is_resumed_by_the_next_pull(web: WebFiles, home: Path) -> None:
    web.cut_after = [1 << 30, 100, 0, 0, 0, 0]  # the first answer states the size
    with pytest.raises(SourceUnavailable, match="does not answer"):
        pull_reference(reference(web), home)
    [item] = cache_items(home)
    assert (item.kind, item.bytes) == ("download", 100)
    web.cut_after = []
    pull_reference(reference(web), home)
    assert web.requests[-1][1] == "bytes=100-"


def test_two_pulls_under_two_names_do_not_disturb_each_other(web: WebFiles, home: Path) -> None:
    with ThreadPoolExecutor(2) as callers:
        found = list(callers.map(lambda name: pull_reference(reference(web), home, name=name), ["one", "two"]))
    assert found[0].files.digest == found[1].files.digest
    assert not list((home / "downloads").glob("[!.]*"))


def test_two_pulls_of_one_model_fetch_once(web: WebFiles, home: Path) -> None:
    with ThreadPoolExecutor(2) as callers:
        found = list(callers.map(lambda _: pull_reference(reference(web), home), range(2)))
    assert sorted(one.already for one in found) == [False, True]
    assert len(web.requests) == 2, "one for the size, one for the file"


def test_other_digest_is_refused_with_both_and_leaves_nothing(web: WebFiles, home: Path) -> None:
    with pytest.raises(DigestMismatch) as refusal:
        pull_reference(reference(web, "0" * 64), home)
    assert (refusal.value.expected, refusal.value.got) == ("0" * 64, reference(web).sha256)
    assert leftovers(home) == []


def test_file_that_is_none_too_large_or_without_a_size_is_refused(
    web: WebFiles, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = "0" * 64
    with pytest.raises(SourceNotFound, match="does not have it"):
        pull_reference(parse_reference(f"onnx:{web.url}/none.onnx#sha256={digest}"), home)
    web.stated["/models/Tiny-1.onnx"] = None
    with pytest.raises(SourceUnavailable, match="does not say how large it is"):
        pull_reference(reference(web), home)
    web.stated = {"/models/Tiny-1.onnx": 1 << 40}
    with pytest.raises(NotDerivable, match=r"it has 1,099,511,627,776 bytes, more than"):
        pull_reference(reference(web), home)
    web.stated = {"/models/Tiny-1.onnx": 0}
    with pytest.raises(NotDerivable, match="the file is empty"):
        pull_reference(reference(web), home)
    web.stated = {}
    monkeypatch.setattr(located, "ROOM", 1e12)
    with pytest.raises(NotDerivable, match="of disk"):
        pull_reference(reference(web), home)
    with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE"):
        pull_reference(reference(web), home, offline=True)
    assert leftovers(home) == []


def test_weights_in_a_second_file_are_refused(web: WebFiles, home: Path, tmp_path: Path) -> None:
    options = {"save_as_external_data": True, "location": "two.data", "size_threshold": 0}
    web.files["/models/Tiny-1.onnx"] = saved(product(), tmp_path / "two.onnx", **options).read_bytes()
    web.files["/models/two.data"] = (tmp_path / "two.data").read_bytes()
    with pytest.raises(NotDerivable):
        pull_reference(reference(web), home)
    assert not any(path.endswith(".data") for path, _ in web.requests)
    assert leftovers(home) == []


def test_lock_gives_another_home_the_same_file(web: WebFiles, home: Path, tmp_path: Path) -> None:
    card = pull_reference(reference(web), home).card
    (tmp_path / "zoo.lock").write_text(text_of_lock([card]), encoding="utf-8")
    [locked] = read_lock(tmp_path / "zoo.lock")
    assert locked == card
    assert difference(card, card.model_copy(update={"source": _at(card.source, "https://b/x.onnx")})).startswith(
        "its url is"
    )
    second = tmp_path / "second"
    with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE"):
        pull_locked(locked, second, offline=True)
    assert pull_locked(locked, second).files.digest == card.source.files["weights"].sha256
    web.files["/models/Tiny-1.onnx"] = saved(product(), tmp_path / "other.onnx").read_bytes()
    with pytest.raises(NotAsLocked, match=r"has sha256 [0-9a-f]{64}, and locked is [0-9a-f]{64}"):
        pull_locked(locked, tmp_path / "third")
    assert leftovers(tmp_path / "third") == []


def test_lock_whose_reference_names_another_file_is_refused(web: WebFiles, home: Path, tmp_path: Path) -> None:
    card = pull_reference(reference(web), home).card
    other = card.model_copy(update={"source": _at(card.source, f"{web.url}/other.onnx")})
    (tmp_path / "zoo.lock").write_text(text_of_lock([other]), encoding="utf-8")
    with pytest.raises(InvalidLock, match="its reference names another repository"):
        read_lock(tmp_path / "zoo.lock")


def _at(source: object, url: str) -> object:
    return source.model_copy(update={"url": url})  # type: ignore[attr-defined]
