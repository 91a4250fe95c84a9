"""The server's socket: who may connect, and what may be in its place."""

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.unix_socket import SocketTaken, UnixSocket


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:  # pytest's own names are too long for a socket
        yield Path(folder) / "s"


class Listener:
    """Listens as gRPC does: it removes what it finds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)

    def __call__(self) -> None:
        self.path.unlink(missing_ok=True)
        self.socket.bind(str(self.path))
        self.socket.listen()

    def die(self) -> None:
        """The file stays, as after SIGKILL."""
        self.socket.close()


Listen = Callable[[], Listener]


@pytest.fixture
def listener(path: Path) -> Iterator[Listen]:
    """Makes listeners for the path, and closes them at the end."""
    made: list[Listener] = []

    def one() -> Listener:
        made.append(Listener(path))
        return made[-1]

    yield one
    for each in made:
        each.die()


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_socket_has_its_permissions_from_the_start(path: Path, listener: Listen, mode: int) -> None:
    seen: list[int] = []

    def listen() -> None:
        listener()()
        seen.append(stat.S_IMODE(path.stat().st_mode))

    before = os.umask(0)
    try:
        UnixSocket(path, mode).bind(listen)
        assert os.umask(0) == 0, "the process has its own umask again"
    finally:
        os.umask(before)
    assert seen == [mode]


def test_socket_of_a_dead_server_is_replaced_and_removed_at_the_end(path: Path, listener: Listen) -> None:
    dead = listener()
    dead()
    dead.die()
    own = UnixSocket(path, 0o600)
    own.bind(listener())
    assert path.is_socket()
    own.remove()
    assert not path.exists()
    own.remove()


def test_socket_of_a_live_server_is_refused_and_stays(path: Path, listener: Listen) -> None:
    live = listener()
    live()
    found = path.stat().st_ino
    with pytest.raises(SocketTaken, match=r"^; is another server running there"):
        UnixSocket(path, 0o600).bind(listener())
    assert path.stat().st_ino == found


def test_live_server_with_a_full_backlog_is_refused(path: Path, listener: Listen) -> None:
    live = socket.socket(socket.AF_UNIX)
    live.bind(str(path))
    live.listen(0)
    callers = []
    for _ in range(4):
        caller = socket.socket(socket.AF_UNIX)
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except BlockingIOError:
            break
        finally:
            callers.append(caller)
    with pytest.raises(SocketTaken, match="is another server running there"):
        UnixSocket(path, 0o600).bind(listener())
    for one in (*callers, live):
        one.close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_refused_and_stays(path: Path, listener: Listen, kind: str) -> None:
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(SocketTaken, match=r"^: there is something that is no socket"):
        UnixSocket(path, 0o600).bind(listener())
    assert os.path.lexists(path)


def test_socket_of_another_server_is_not_removed_at_the_end(path: Path, listener: Listen) -> None:
    own = UnixSocket(path, 0o600)
    first = listener()
    own.bind(first)
    first.die()
    keeper = path.with_name("t")
    path.rename(keeper)  # keeps its number from being given again
    other = listener()
    other()
    own.remove()
    assert path.is_socket()


def test_failed_bind_leaves_nothing_to_remove(path: Path, listener: Listen) -> None:
    own = UnixSocket(path, 0o600)

    def fail() -> None:
        raise RuntimeError("no port")

    with pytest.raises(RuntimeError, match="no port"):
        own.bind(fail)
    own.remove()
    with pytest.raises(FileNotFoundError):
        UnixSocket(path / "no" / "folder", 0o600).bind(fail)


def test_of_servers_that_start_at_once_one_listens(path: Path, listener: Listen) -> None:
    listeners, outcomes = [listener() for _ in range(8)], list[str]()
    start = threading.Barrier(len(listeners))

    def serve(own: Listener) -> None:
        start.wait()
        try:
            UnixSocket(path, 0o600).bind(own)
            outcomes.append("listens")
        except SocketTaken:
            outcomes.append("refused")

    threads = [threading.Thread(target=serve, args=(own,)) for own in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["listens", *["refused"] * 7]
