"""The cache by itself: private folders, packages that cannot be trusted or read, refusals, and trials.

`test_compiler.py` tests it together with the compiler: damage, modes of the folders, sweeping.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.runtime.compilers import compiled_cache as module
from service.runtime.compilers import compiled_manifest
from service.runtime.compilers.compiled_cache import (
    ABANDONED_S,
    EVIDENCE,
    FORGOTTEN_S,
    CannotCompile,
    CompiledCache,
    CompiledPackage,
)
from service.runtime.compilers.compiled_manifest import LIBRARY, MANIFEST

KEY, OTHER_KEY = "a" * 64, "b" * 64
DAMAGED_FIELDS: dict[str, Any] = {
    "files": {"network.so": "0" * 64},
    "compiler": "another",
    "inputs": 7,
    "outputs": None,
    "compile_s": "soon",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def open_umask() -> Iterator[None]:
    """New files may be written by everybody, unless the cache prevents it."""
    before = os.umask(0)
    yield
    os.umask(before)


def publish(home: Path, key: str = KEY, code: str = "code") -> CompiledPackage:
    cache = CompiledCache(home)
    staging = cache.staging()
    (staging / LIBRARY).write_text(code)
    return cache.publish(key, staging, ["input_ids"], ["embedding"], 1.5)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_published_package_is_found_by_its_key_only(home: Path) -> None:
    package = publish(home)
    assert (package.inputs, package.outputs, package.compile_s) == (("input_ids",), ("embedding",), 1.5)
    assert (package.folder / LIBRARY).read_text() == "code"
    assert CompiledCache(home).find(KEY) == package
    assert CompiledCache(home).find(OTHER_KEY) is None


def test_look_up_in_a_home_without_a_cache_finds_nothing_and_creates_nothing(home: Path) -> None:
    assert CompiledCache(home).find(KEY) is None
    assert not list(home.iterdir())


def test_look_up_marks_a_package_as_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NETWORKS", 1)
    older, newer = publish(home).folder, publish(home, OTHER_KEY).folder
    os.utime(older, (100, 100))
    os.utime(newer, (200, 200))
    assert CompiledCache(home).find(KEY) is not None
    CompiledCache(home).staging()
    assert (older.exists(), newer.exists()) == (True, False)


def test_package_that_another_server_published_first_stays(home: Path) -> None:
    first = publish(home, code="of the first server")
    assert publish(home, code="of the second server") == first
    assert (first.folder / LIBRARY).read_text() == "of the first server"


@pytest.mark.parametrize("stray", ["a file", "a link"])
def test_stray_file_or_link_in_the_place_of_a_package_gives_way_to_it(home: Path, stray: str) -> None:
    CompiledCache(home).staging()  # makes the folder
    place = home / "compiled" / KEY
    place.write_text("") if stray == "a file" else place.symlink_to("nowhere")
    assert CompiledCache(home).find(KEY) is None
    assert (publish(home).folder / LIBRARY).read_text() == "code"


def test_worker_that_left_no_library_is_a_reason(home: Path) -> None:
    cache = CompiledCache(home)
    with pytest.raises(CannotCompile, match=r"^the compiled network could not be stored: No such file or directory$"):
        cache.publish(KEY, cache.staging(), [], [], 1.5)
    assert cache.find(KEY) is None


@pytest.mark.parametrize("field", DAMAGED_FIELDS)
@pytest.mark.parametrize("missing", [False, True])
def test_package_whose_manifest_lacks_a_field_or_has_a_wrong_one_is_removed(
    home: Path, field: str, missing: bool
) -> None:
    folder = publish(home).folder
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest[field]
    (folder / MANIFEST).write_text(json.dumps(manifest if missing else manifest | {field: DAMAGED_FIELDS[field]}))
    assert CompiledCache(home).find(KEY) is None
    assert not folder.exists()


def test_link_in_place_of_the_library_is_removed_and_its_target_stays(home: Path) -> None:
    library = publish(home).folder / LIBRARY
    elsewhere = library.rename(home / "elsewhere.so")
    library.symlink_to(elsewhere)
    assert CompiledCache(home).find(KEY) is None
    assert not library.parent.exists()
    assert elsewhere.read_text() == "code"


# ── permissions ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_folders_and_the_library_are_private_whatever_the_umask(home: Path, open_umask: None) -> None:
    library = publish(home).folder / LIBRARY
    cache = CompiledCache(home)
    folders = [home / "compiled", library.parent, cache.staging(), cache.subfolder("triton")]
    assert [mode(folder) for folder in folders] == [0o700] * 4
    assert mode(library) == 0o600


def test_home_that_every_user_may_write_is_accepted_with_the_sticky_bit(home: Path) -> None:
    """As below /tmp: the sticky bit lets only the owner rename or remove."""
    publish(home)
    home.chmod(0o1777)
    assert CompiledCache(home).find(KEY) is not None


def test_subfolder_is_the_same_at_every_call_and_a_staging_folder_is_new(home: Path) -> None:
    cache = CompiledCache(home)
    assert cache.subfolder("triton") == cache.subfolder("triton") == home / "compiled" / "triton"
    assert cache.staging() != cache.staging()


@pytest.mark.parametrize(("error", "kept"), [(None, True), (PermissionError, True), (ProcessLookupError, False)])
def test_old_staging_folder_stays_while_a_process_with_its_id_lives(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None, kept: bool
) -> None:
    """Also where the process is another user's, which may not be signalled."""

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (12345678, 0)
        if error is not None:
            raise error

    publish(home)
    left = home / "compiled" / ".staging-12345678-0a0b0c0d-12345678"
    left.mkdir()
    os.utime(left, (left.stat().st_mtime - ABANDONED_S - 60,) * 2)
    monkeypatch.setattr(os, "kill", kill)
    assert CompiledCache(home).find(KEY) is not None
    assert left.exists() is kept


# ── evidence ──────────────────────────────────────────────────────────────────────────────────────────────────────


BODY = {"conditions": {"speedup": 2.5}}


def test_evidence_is_read_as_it_was_stored(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    assert cache.evidence(package) is None
    cache.store_evidence(package, BODY)
    assert CompiledCache(home).evidence(package) == BODY
    assert mode(package.folder / EVIDENCE) == 0o600
    assert CompiledCache(home).find(KEY) == package


@pytest.mark.parametrize("damage", ["cut", "changed", "of another network", "a link", "others may write", "a list"])
def test_evidence_that_cannot_be_trusted_is_ignored_and_can_be_stored_again(home: Path, damage: str) -> None:
    package, cache = publish(home), CompiledCache(home)
    cache.store_evidence(package, BODY)
    path = package.folder / EVIDENCE
    if damage == "cut":
        path.write_text(path.read_text()[:-9])
    elif damage == "changed":
        path.write_text(path.read_text().replace("2.5", "9.5"))
    elif damage == "of another network":
        other = publish(home, OTHER_KEY, "other code")
        cache.store_evidence(other, BODY)
        (other.folder / EVIDENCE).rename(path)
    elif damage == "a link":
        path.symlink_to(path.rename(home / "elsewhere.json"))
    elif damage == "others may write":
        path.chmod(0o666)
    else:
        path.write_text("[]")
    assert cache.evidence(package) is None
    cache.store_evidence(package, BODY)
    assert cache.evidence(package) == BODY


def test_evidence_that_the_disk_does_not_take_is_no_error(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    (package.folder / EVIDENCE).mkdir()
    cache.store_evidence(package, BODY)
    assert cache.evidence(package) is None


def test_packages_of_an_earlier_format_are_removed(home: Path) -> None:
    folder = publish(home).folder
    manifest = json.loads((folder / MANIFEST).read_text())
    for field in ("format", "compiler"):
        (folder / MANIFEST).write_text(json.dumps({k: v for k, v in manifest.items() if k != field}))
        CompiledCache(home).staging()
        assert not folder.exists()
        folder = publish(home).folder


# ── refusals and trials ───────────────────────────────────────────────────────────────────────────────────────────


def test_refused_network_stays_refused(home: Path) -> None:
    cache = CompiledCache(home)
    cache.refuse(KEY, cache.staging(), "it has an operation that is not known", "openvino")
    for _ in range(2):
        with pytest.raises(CannotCompile, match=r"^it has an operation that is not known$"):
            CompiledCache(home).find(KEY)
    assert CompiledCache(home).find(OTHER_KEY) is None


def test_refusal_by_another_version_of_the_compiler_is_forgotten(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CompiledCache(home)
    cache.refuse(KEY, cache.staging(), "it has an operation that is not known", "openvino")
    monkeypatch.setattr(compiled_manifest, "compiler_version", lambda name: "2099.1")
    cache.staging()
    assert cache.find(KEY) is None


def test_refusal_does_not_replace_a_network(home: Path) -> None:
    first = publish(home)
    cache = CompiledCache(home)
    cache.refuse(KEY, cache.staging(), "too late", "aotinductor")
    assert cache.find(KEY) == first


@pytest.mark.parametrize("ends", ["normally", "by an error"])
def test_trial_that_ends_leaves_nothing(home: Path, ends: str) -> None:
    package, cache = publish(home), CompiledCache(home)
    before = sorted(package.folder.iterdir())
    for _ in range(3):
        with suppress(RuntimeError), cache.trial(package):
            assert len(sorted(package.folder.iterdir())) == len(before) + 1
            if ends == "by an error":
                raise RuntimeError
    assert sorted(package.folder.iterdir()) == before
    assert cache.find(KEY) == package


def ended_trials(package: CompiledPackage, count: int) -> None:
    """As servers leave them that were killed."""
    for number in range(count):
        (package.folder / f".trial-{2**22 + 1 + number}-0a0b0c0{number}").touch()


def test_network_under_which_two_servers_ended_is_not_tried_again(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    ended_trials(package, 2)
    for _ in range(2):
        reason = "2 servers ended while they loaded or checked the compiled network"
        with pytest.raises(CannotCompile, match=reason), cache.trial(package):
            pytest.fail("the trial began")


def test_one_server_that_ended_is_forgotten_after_a_trial_that_ends(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    ended_trials(package, 1)
    with cache.trial(package):
        pass
    assert not [*package.folder.glob(".trial-*")]


def test_trials_of_servers_that_live_do_not_count(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    for number in range(3):
        (package.folder / f".trial-{os.getppid()}-0a0b0c0{number}").touch()
    with cache.trial(package):
        pass
    assert len([*package.folder.glob(".trial-*")]) == 3


def test_end_of_a_server_is_forgotten_after_a_day(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    ended_trials(package, 2)
    for path in package.folder.glob(".trial-*"):
        os.utime(path, (path.stat().st_mtime - FORGOTTEN_S - 60,) * 2)
    with cache.trial(package):
        assert len([*package.folder.glob(".trial-*")]) == 1, "its own"


def test_server_that_stops_during_a_trial_counts_against_no_network(home: Path) -> None:
    package, cache = publish(home), CompiledCache(home)
    with cache.trial(package):
        cache.stop()
        assert not [*package.folder.glob(".trial-*")]
    with cache.trial(package):  # nor does one that begins meanwhile
        assert not [*package.folder.glob(".trial-*")]


ODD_NAMES = ["", "x", "999999", "a-b", "-1-b", "1e3-b", "99999999999999999999-0a0b0c0d", "7-0A0B0C0D", "é-ü"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_no_server_gives_do_no_harm(home: Path, name: str) -> None:
    package, cache = publish(home), CompiledCache(home)
    for number in range(3):
        (package.folder / f".trial-{name}{'-' * number}").touch()
        (package.folder / f".trial-{2**22 + 1 + number}-0a0b0c0d").mkdir()
    left = home / "compiled" / f".staging-{name}"
    left.mkdir()
    os.utime(left, (left.stat().st_mtime - ABANDONED_S - 60,) * 2)
    with cache.trial(package):
        pass
    assert cache.find(KEY) == package
    assert not left.exists()
    cache.staging()


ODD_MANIFESTS: list[Any] = [
    {"compiler": []},
    {"compiler": {}},
    {"refused": None},
    {"refused": ""},
    {"refused": {"a": [1]}},
    {"refused": "x" * 3000},
    {"compile_s": 10**400},
    {"compile_s": -5},
    {"compile_s": "inf"},
    {"inputs": "abc"},
    {"inputs": [1]},
    {"files": {"../network.so": "0" * 64}},
    {"more": 1},
]


@pytest.mark.parametrize("changes", ODD_MANIFESTS, ids=[str(changes)[:40] for changes in ODD_MANIFESTS])
def test_odd_manifest_is_that_of_a_damaged_network(home: Path, changes: dict[str, Any]) -> None:
    folder = publish(home).folder
    document = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(document | changes))
    assert CompiledCache(home).find(KEY) is None
    assert not folder.exists()


@pytest.mark.parametrize("changes", ODD_MANIFESTS, ids=[str(changes)[:40] for changes in ODD_MANIFESTS])
def test_odd_manifest_of_another_network_keeps_none_from_being_compiled(home: Path, changes: dict[str, Any]) -> None:
    other = publish(home, OTHER_KEY).folder
    (other / MANIFEST).write_text(json.dumps(changes))
    assert publish(home).folder.exists()
    assert not other.exists()


def test_long_reason_is_cut(home: Path) -> None:
    cache = CompiledCache(home)
    cache.refuse(KEY, cache.staging(), "x" * 3000, "openvino")
    with pytest.raises(CannotCompile, match=r"^x{300}$"):
        cache.find(KEY)


def test_damaged_network_is_logged(home: Path) -> None:
    (publish(home).folder / LIBRARY).write_text("other code")
    with capture_logs() as logs:
        assert CompiledCache(home).find(KEY) is None
        assert CompiledCache(home).find(KEY) is None
    assert [(entry["log_level"], entry["key"]) for entry in logs] == [("warning", KEY)]
