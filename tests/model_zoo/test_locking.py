"""Lock files hold others off, and those of passing names do not stay behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_zoo.locking import exclusive_lock, passing_lock


def test_passing_lock_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "cards" / ".name.lock"
    with passing_lock(path):
        assert path.is_file()
    assert not path.exists()
    with pytest.raises(ValueError, match="refused"), passing_lock(path):
        raise ValueError("refused")
    assert not path.exists()


def test_lock_of_a_lasting_name_stays(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / ".lock").is_file()


def test_those_who_wait_for_a_removed_lock_still_take_turns(tmp_path: Path) -> None:
    path, inside, most = tmp_path / ".name.lock", [], []
    start = threading.Barrier(8)

    def take(number: int) -> None:
        start.wait()
        for _ in range(50):
            with passing_lock(path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(take, range(8)))
    assert (len(most), max(most)) == (400, 1)
    assert not path.exists()
