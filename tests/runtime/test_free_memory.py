"""Free memory is the lesser of the machine's and the container's; the file cache counts as free."""

from pathlib import Path

import pytest

from service.runtime.free_memory import free_bytes

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       16777216 kB\nMemAvailable:    2097152 kB\nHugePages_Total:       0\n")
    return file


def v1(folder: Path, limit: int) -> None:
    (folder / "memory").mkdir(parents=True)
    (folder / "memory" / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory" / "memory.usage_in_bytes").write_text(f"{900 * MIB}\n")
    own, all_together = f"active_file {MIB}\ninactive_file {MIB}\n", f"{30 * MIB}\ntotal_inactive_file {70 * MIB}\n"
    (folder / "memory" / "memory.stat").write_text(f"{own}total_active_file {all_together}")


def v2(folder: Path, limit: str) -> None:
    folder.mkdir()
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{900 * MIB}\n")
    (folder / "memory.stat").write_text(f"anon {800 * MIB}\nactive_file {30 * MIB}\ninactive_file {70 * MIB}\n")


def test_free_bytes_without_container_is_that_of_the_machine(machine: Path, tmp_path: Path) -> None:
    assert free_bytes(machine, tmp_path / "none") == 2048 * MIB


def test_free_bytes_of_a_container_is_its_limit_less_unreclaimable_memory(machine: Path, tmp_path: Path) -> None:
    v1(tmp_path / "v1", 1000 * MIB)
    v2(tmp_path / "v2", str(1000 * MIB))
    assert free_bytes(machine, tmp_path / "v1") == free_bytes(machine, tmp_path / "v2") == 200 * MIB


def test_free_bytes_of_a_container_over_its_limit_is_zero(machine: Path, tmp_path: Path) -> None:
    v2(tmp_path / "v2", str(700 * MIB))
    assert free_bytes(machine, tmp_path / "v2") == 0


def test_free_bytes_of_a_container_without_limit_is_that_of_the_machine(machine: Path, tmp_path: Path) -> None:
    v1(tmp_path / "v1", 9223372036854771712)
    v2(tmp_path / "v2", "max")
    assert free_bytes(machine, tmp_path / "v1") == free_bytes(machine, tmp_path / "v2") == 2048 * MIB


def test_free_bytes_of_an_unknown_system_is_none(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "none", tmp_path / "none") is None
