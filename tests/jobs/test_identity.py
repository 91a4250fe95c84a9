"""A server that starts again has its name again, and two servers at once have two."""

from __future__ import annotations

from pathlib import Path

from service.jobs.identity import Identity


def test_name_outlives_its_server(tmp_path: Path) -> None:
    first = Identity(tmp_path / "jobs")
    name = first.name
    first.close()
    again = Identity(tmp_path / "jobs")
    assert again.name == name
    again.close()


def test_two_servers_on_one_home_have_two_names(tmp_path: Path) -> None:
    one, other = Identity(tmp_path), Identity(tmp_path)
    assert one.name != other.name
    one.close()
    other.close()


def test_damaged_name_is_replaced(tmp_path: Path) -> None:
    first = Identity(tmp_path)
    first.close()
    (file,) = tmp_path.glob(".server-*-0")
    file.write_bytes(b"\xff\xfe")
    again = Identity(tmp_path)
    assert again.name != first.name
    again.close()
    third = Identity(tmp_path)
    assert third.name == again.name
    third.close()


def test_folder_in_the_place_of_the_file_is_skipped(tmp_path: Path) -> None:
    first = Identity(tmp_path)
    first.close()
    (file,) = tmp_path.glob(".server-*-0")
    file.unlink()
    file.mkdir()
    again = Identity(tmp_path)
    assert [path.name for path in tmp_path.glob(".server-*-1")]
    again.close()
