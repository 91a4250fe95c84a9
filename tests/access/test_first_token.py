"""The first admin token comes from a file, which the server makes where there is none."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from service.access.first_token import BadTokenFile, read_or_make
from service.access.tokens import Secret, new_secret


def test_missing_file_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    made = read_or_make(path)
    assert read_or_make(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


def test_file_of_an_operator_is_read_with_and_without_a_line_end(tmp_path: Path) -> None:
    secret = new_secret()
    for content in (secret.text, f"{secret.text}\n", f" {secret.text} \r\n"):
        path = tmp_path / "token"
        path.write_text(content)
        path.chmod(0o600)
        assert read_or_make(path) == secret


@pytest.mark.parametrize("content", ["", "hello", "zoo_1_2", "x" * 5000, "{text}\n{text}", "\0"])
def test_file_without_a_token_is_refused_and_stays_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    text = content.format(text=new_secret().text)
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadTokenFile, match="holds no token") as refused:
        read_or_make(path)
    assert path.read_text() == text
    assert text not in str(refused.value) or not text


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o601])
def test_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    read_or_make(path)
    path.chmod(mode)
    with pytest.raises(BadTokenFile, match="its mode is"):
        read_or_make(path)


def test_folder_that_does_not_exist_is_refused_without_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "token", tmp_path):
        with pytest.raises(BadTokenFile) as refused:
            read_or_make(path)
        assert str(tmp_path) not in str(refused.value)


def test_servers_that_make_the_file_at_once_get_one_token(tmp_path: Path) -> None:
    found: list[Secret] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        found.append(read_or_make(tmp_path / "token"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]
