"""Photos are read ahead of their answers, and the bytes in memory are bounded."""

from __future__ import annotations

import threading
from pathlib import Path

from service.cli.photos.photo_reader import ByteWindow, PhotoReader
from service.cli.photos.scan import Photo


def test_window_lets_in_what_has_room_and_a_large_photo_alone() -> None:
    window = ByteWindow(10)
    assert window.enter(6)
    assert window.enter(4)
    entered = threading.Event()

    def enter() -> None:
        window.enter(50)
        entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    window.leave(6)
    assert not entered.is_set()
    window.leave(4)
    thread.join(10)
    assert entered.is_set()


def test_closed_window_frees_the_thread_that_waits() -> None:
    window = ByteWindow(10)
    window.enter(10)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(window.enter(1)))
    thread.start()
    window.close()
    thread.join(10)
    assert results == [False]


def test_file_that_has_grown_since_the_scan_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(1000))
    reader = PhotoReader([Photo("a.jpg", path, 10, 0)], set(), 100, lambda: None)
    assert list(reader.values()) == []
    read = reader.next_read()
    assert read is not None
    assert "more than" in read.problem
