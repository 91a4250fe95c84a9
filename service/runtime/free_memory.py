"""Free memory for this process and its child processes: the lesser of the machine's and the container's.

Pages of the file cache count as free, since the system reclaims them on demand.
"""

from __future__ import annotations

from pathlib import Path

_MACHINE, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_FILES = (
    ("memory.max", "memory.current", "memory.stat"),  # cgroup v2, else v1
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def free_bytes(machine: Path = _MACHINE, container: Path = _CONTAINER) -> int | None:
    """Free bytes now; None if the system does not tell."""
    candidates = [_free_in_machine(machine), *(_free_in_container(container, *files) for files in _FILES)]
    return min((free for free in candidates if free is not None), default=None)


def _free_in_machine(meminfo: Path) -> int | None:
    try:
        return _figures(meminfo)["MemAvailable:"] * 1024
    except (OSError, ValueError, KeyError):
        return None


def _free_in_container(folder: Path, limit: str, used: str, kinds: str) -> int | None:
    try:
        limit_bytes, used_bytes = (int((folder / file).read_text()) for file in (limit, used))
        figures = _figures(folder / kinds)  # v1 counts nested groups only in `total_…`, v2 in every figure
        files = sum(figures.get(f"total_{kind}", figures[kind]) for kind in ("active_file", "inactive_file"))
        return max(0, limit_bytes - used_bytes + files)
    except (OSError, ValueError, KeyError):  # no such file, or "max"
        return None


def _figures(file: Path) -> dict[str, int]:
    """First word of each line → its number."""
    return {name: int(value) for name, value, *_ in map(str.split, file.read_text().splitlines())}
