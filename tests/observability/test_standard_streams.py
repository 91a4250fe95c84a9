"""What cannot be printed is lost and counted; whoever prints neither fails nor waits."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.observability import standard_streams as module
from service.observability.standard_streams import Direct, LostLines, Queued, Stream

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def lost(monkeypatch: pytest.MonkeyPatch) -> LostLines:
    counted = LostLines()
    monkeypatch.setattr(module, "lost", counted)
    return counted


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue


def test_lines_arrive_complete_and_in_order(pipe: tuple[int, int], lost: LostLines) -> None:
    stream = Stream(Queued(pipe[1]), "utf-8")
    for i in range(100):
        print("line", i, "é…", file=stream)
    stream.output.flush(PATIENCE_S)
    assert os.read(pipe[0], 1 << 16).decode() == "".join(f"line {i} é…\n" for i in range(100))
    assert lost.lines == 0


@pytest.mark.parametrize("kind", [Queued, Direct])
def test_lines_for_a_dead_reader_are_counted_as_lost(
    kind: type[Queued | Direct], pipe: tuple[int, int], lost: LostLines
) -> None:
    stream = Stream(kind(pipe[1]), "utf-8")
    os.close(pipe[0])
    stream.write("one\ntwo\n")
    stream.line("three")
    stream.output.flush(PATIENCE_S)
    assert lost.lines == 3


@pytest.mark.parametrize("kind", [Queued, Direct])
def test_lines_for_a_full_disk_are_counted_as_lost(kind: type[Queued | Direct], lost: LostLines) -> None:
    with Path("/dev/full").open("wb") as full:
        stream = Stream(kind(full.fileno()), "utf-8")
        stream.line("one")
        stream.output.flush(PATIENCE_S)
    assert lost.lines == 1


@pytest.mark.parametrize("kind", [Queued, Direct])
def test_lines_for_a_closed_stream_are_counted_as_lost(
    kind: type[Queued | Direct], pipe: tuple[int, int], lost: LostLines
) -> None:
    os.close(pipe[1])
    stream = Stream(kind(pipe[1]), "utf-8")
    stream.line("one")
    stream.output.flush(PATIENCE_S)
    assert lost.lines == 1


def test_stalled_reader_does_not_block_the_writer(
    pipe: tuple[int, int], lost: LostLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1 << 20)
    stream = Stream(Queued(pipe[1]), "ascii")
    line = "x" * 999
    for _ in range(3000):
        stream.line(line)
    assert lost.lines >= 3000 - (1 << 20) // 1000 - 66, "what is beyond the bound and the pipe"

    read = 0
    done = threading.Event()

    def drain() -> None:
        nonlocal read
        while read < (3000 - lost.lines) * 1000:
            read += len(os.read(pipe[0], 1 << 16))
        done.set()

    threading.Thread(target=drain, daemon=True).start()
    assert done.wait(PATIENCE_S), "what waited arrives once somebody reads"


def test_child_drops_lines_that_its_full_pipe_does_not_take(pipe: tuple[int, int], lost: LostLines) -> None:
    stream = Stream(Direct(pipe[1]), "ascii")
    for _ in range(200):
        stream.line("x" * 999)
    assert lost.lines >= 200 - 66


def test_line_after_a_partial_line_starts_on_a_new_line(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: list[bytes] = []
    room = [3, 0, 100, 100]

    def write(fd: int, data: memoryview) -> int:
        if (most := room.pop(0)) == 0:
            raise OSError(28, "No space left on device")
        wrote.append(bytes(data[:most]))
        return min(most, len(data))

    monkeypatch.setattr(module.os, "write", write)
    stream = Stream(Queued(pipe[1]), "ascii")
    stream.line("first")
    stream.line("second")
    stream.line("third")
    stream.output.flush(PATIENCE_S)
    assert b"".join(wrote) == b"fir\nsecond\nthird\n"


@pytest.mark.parametrize(
    ("encoding", "arrives"),
    [
        ("ascii", b"\\u2026 \\xe9 \\udcff\n"),
        ("latin-1", b"\\u2026 \xe9 \\udcff\n"),
        ("cp1252", b"\x85 \xe9 \\udcff\n"),
        ("utf-8", "… é \\udcff\n".encode()),
        ("no-such-encoding", b"\\u2026 \\xe9 \\udcff\n"),
    ],
)
def test_characters_outside_the_encoding_are_escaped(pipe: tuple[int, int], encoding: str, arrives: bytes) -> None:
    Stream(Direct(pipe[1]), encoding).line("… é \udcff")
    assert os.read(pipe[0], 100) == arrives


def script(code: str, redirections: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs Python code behind a shell's redirections."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        timeout=PATIENCE_S * 3,
        check=False,
    )


CLOSED = ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_standard_streams_are_not_reused_by_opened_files(closed: str, tmp_path: Path) -> None:
    done = script(
        f"""
        import sys
        from service.observability.standard_streams import open_closed, protect
        open_closed()
        ours = open({str(tmp_path / "ours")!r}, "w")
        assert ours.fileno() > 2
        protect()
        print("printed"); print("complained", file=sys.stderr); sys.stdin.read()
        ours.write("ours alone"); ours.close()
        """,
        closed,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ours").read_text() == "ours alone"


LOGGING = """
import logging, sys, threading, warnings
from service.observability.log import configure, logger
from service.observability.standard_streams import lost, flush
configure("debug", {style!r})
class Broken:
    def __repr__(self): raise RuntimeError("cannot be shown")
    __str__ = __repr__
logger("t").info("fine", value=1)
logger("t").info("broken", value=Broken())
logging.getLogger("other").error("%d", "no number")
logging.getLogger("other").error("%s", Broken())
warnings.warn("a warning")
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
print("printed"); print("complained", file=sys.stderr)
flush()
open({result!r}, "w").write(str(lost.lines))
"""


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("streams", ["", ">/dev/full 2>&1", "1>&- 2>&-"])
def test_log_call_never_raises_whatever_the_streams_are(style: str, streams: str, tmp_path: Path) -> None:
    done = script(LOGGING.format(style=style, result=str(tmp_path / "lost")), streams)
    assert done.returncode == 0, done.stderr
    lines = int((tmp_path / "lost").read_text())
    assert lines == 3 if streams in ("", "1>&- 2>&-") else lines > 3, "the broken ones, and all of a full disk"
