"""Readings of the memory of the process: they follow allocations, and are None on unknown systems."""

from pathlib import Path

import pytest
import torch

from service.runtime import memory
from service.runtime.memory import memory_reading, resident_bytes, trim_heap, trimmed_bytes

SIZE = 64 * 2**20
PAGES = 2**20
"""Bytes of tolerance of a reading, for other allocations of the process."""

linux = pytest.mark.skipif(trimmed_bytes() is None, reason="this system does not say what the process holds")


@linux
def test_reading_follows_allocated_and_freed_tensors() -> None:
    before = trimmed_bytes()
    tensor = torch.ones(SIZE // 4)
    held = trimmed_bytes()
    del tensor
    after = trimmed_bytes()
    assert before is not None
    assert held is not None
    assert after is not None
    assert abs(held - before - SIZE) < PAGES
    assert abs(after - before) < PAGES


@linux
def test_trim_heap_returns_free_pages() -> None:
    blocks = [torch.ones(2**12) for _ in range(SIZE // 2**14)]  # too small for a mapping of their own
    before = resident_bytes() or 0
    del blocks
    assert trim_heap()
    assert before - (resident_bytes() or 0) > SIZE // 2


def test_memory_reading_of_a_cpu_is_that_of_the_process() -> None:
    assert memory_reading("cpu") is trimmed_bytes


def test_reading_of_an_unknown_system_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert resident_bytes() is None
    monkeypatch.setattr("service.runtime.memory.sys.platform", "darwin")
    assert not trim_heap()
    assert trimmed_bytes() is None
