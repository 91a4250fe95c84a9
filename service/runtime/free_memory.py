"""How much memory is left for what this process and those that it starts still want, by the machine and by the container.

Pages that only keep files at hand count as free: the system gives them to whoever asks.
"""

from __future__ import annotations

from pathlib import Path

_MACHINE, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_FILES = (
    ("memory.max", "memory.current", "memory.stat"),  # cgroup v2, else v1
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def free_bytes(machine: Path = _MACHINE, container: Path = _CONTAINER) -> int | None:
    """Bytes as of now; None where the system does not say."""
    left = [_left_in_machine(machine), *(_left_in_container(container, *files) for files in _FILES)]
    return min((free for free in left if free is not None), default=None)


def _left_in_machine(meminfo: Path) -> int | None:
    try:
        return _figures(meminfo)["MemAvailable:"] * 1024
    except (OSError, ValueError, KeyError):
        return None


def _left_in_container(folder: Path, limit: str, used: str, kinds: str) -> int | None:
    try:
        most, held = (int((folder / file).read_text()) for file in (limit, used))
        figures = _figures(folder / kinds)  # v1 has those of groups within only in `total_…`, v2 in all
        files = sum(figures.get(f"total_{kind}", figures[kind]) for kind in ("active_file", "inactive_file"))
        return max(0, most - held + files)
    except (OSError, ValueError, KeyError):  # not there, or "max"
        return None


def _figures(file: Path) -> dict[str, int]:
    """By the word that a line begins with, its number."""
    return {name: int(value) for name, value, *_ in map(str.split, file.read_text().splitlines())}
