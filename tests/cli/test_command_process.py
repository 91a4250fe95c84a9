"""Errors of `zoo` end with one sentence and an exit code, and real processes cope with any streams, locale and terminal."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from service.cli import crash_log
from tests.support.fake_zoo.sandbox import ZOO_COMMAND, Sandbox
from tests.support.paths import REPOSITORY

LONG = "a" * 300

# ── unexpected errors ────────────────────────────────────────────────────────────────────────────────────


class ErrorWithoutText(Exception):
    def __str__(self) -> str:
        raise ValueError("has no text")


UNEXPECTED_ERRORS: list[BaseException] = [
    KeyError("a bug"),
    RuntimeError("two\nlines \x1b[31m"),
    RecursionError("too deep"),
    MemoryError(),
    AssertionError(),
    ErrorWithoutText(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"),
    ModuleNotFoundError("No module named 'service.gone'", name="service.gone"),
    OSError("without a number"),
    OSError(errno.EIO, "Input/output error"),
    ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    GeneratorExit(),
]


@pytest.fixture
def status_raises(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `zoo status` end with an error."""

    def raise_in_status(error: BaseException) -> None:
        def status(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("service.client.Client.status", status)

    return raise_in_status


@pytest.mark.parametrize("error", UNEXPECTED_ERRORS, ids=lambda error: type(error).__name__)
def test_unexpected_error_prints_one_line_and_logs_the_traceback(
    sandbox: Sandbox, status_raises: Callable[[BaseException], None], error: BaseException
) -> None:
    status_raises(error)
    code, out, err = sandbox.run("status", "--server", "SERVER")
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    log = sandbox.folder / "home" / "log" / crash_log.LOG_NAME
    assert line == f"zoo failed unexpectedly ({type(error).__name__}); the details are in {log}"
    assert type(error).__name__ in sandbox.log
    assert "zoo status" in sandbox.log
    assert log.stat().st_mode & 0o077 == 0 or log.parent.stat().st_mode & 0o077 == 0, "only its owner can read it"


def test_unexpected_error_without_writable_log_prints_one_line(
    sandbox: Sandbox, status_raises: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crash_log, "_log_folders", lambda: [Path("/proc/nowhere"), sandbox.folder / "photo.jpg"])
    status_raises(KeyError("two\nlines"))
    code, _, err = sandbox.run("status", "--server", "SERVER")
    assert code == 1
    [line] = err.splitlines()
    assert line.startswith("zoo failed unexpectedly (KeyError) at ")


def test_large_log_is_rotated(sandbox: Sandbox, status_raises: Callable[[BaseException], None]) -> None:
    folder = sandbox.folder / "home" / "log"
    folder.mkdir(parents=True)
    (folder / crash_log.LOG_NAME).write_text("x" * (crash_log.LARGEST_LOG + 1))
    status_raises(KeyError("a bug"))
    sandbox.run("status", "--server", "SERVER")
    assert len(sandbox.log) < 10_000
    assert (folder / f"{crash_log.LOG_NAME}.1").stat().st_size == crash_log.LARGEST_LOG + 1


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (OSError(errno.ENAMETOOLONG, "File name too long", LONG), 1, f"'{LONG[:99]}…': file name too long\n"),
        (OSError(errno.EACCES, "Permission denied", b"/a\xff"), 1, "'/a\\udcff': permission denied\n"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), 1, "'\\udcff' is not valid UTF-8\n"),
    ],
)
def test_expected_error_prints_its_own_sentence_and_logs_nothing(
    sandbox: Sandbox, status_raises: Callable[[BaseException], None], error: BaseException, code: int, says: str
) -> None:
    status_raises(error)
    assert sandbox.run("status", "--server", "SERVER") == (code, "", says)
    assert sandbox.log == ""


STATUSES = [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK]
BARE_ERRORS = [
    *((status, "of an older server") for status in STATUSES),
    (grpc.StatusCode.INTERNAL, ""),
    (grpc.StatusCode.INTERNAL, "\x1b[31m"),
    (grpc.StatusCode.UNAVAILABLE, ""),
    (grpc.StatusCode.UNAVAILABLE, "\x1b[31m"),
]
"""A status that is retried waits for seconds, so the texts vary with one of each kind."""


@pytest.mark.parametrize(("status", "details"), BARE_ERRORS)
def test_any_grpc_status_prints_one_sentence(sandbox: Sandbox, status: grpc.StatusCode, details: str) -> None:
    """The client retries, so several answers are ready."""
    sandbox.zoo.call_control.to_fail_bare["GetJob"].extend([(status, details)] * 6)
    code, out, err = sandbox.run("jobs", "show", "abc", "--server", "SERVER")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "zoo failed" not in err
    assert "\x1b" not in err


KILLED_SERVER = """
import os, signal
from tests.support.fake_zoo.server import FakeZoo
zoo = FakeZoo()
enter = zoo.call_control.enter
def kill_in_predict(method, request, context):
    if method in ("Predict", "StreamPredict"):
        os.kill(os.getpid(), signal.SIGKILL)
    enter(method, request, context)
zoo.call_control.enter = kill_in_predict
zoo.start()
print(zoo.target, flush=True)
signal.pause()
"""


def test_server_killed_during_a_call_prints_one_sentence(sandbox: Sandbox) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_SERVER],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    ) as server:
        assert server.stdout is not None
        target = server.stdout.readline().strip()
        code, _, err = sandbox.run("predict", "all_minilm_l6_v2", "a", "--server", target)
        assert server.wait() == -signal.SIGKILL
    assert code == 1
    assert "zoo failed" not in err
    assert target in err.splitlines()[-1]


# ── real processes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_broken_pipe_ends_the_command_silently(sandbox: Sandbox) -> None:
    for line in ("zoo models | head -c 1", "zoo models --json | true", "zoo predict flats rows.csv --json | true"):
        assert b"rror" not in sandbox.shell(line).stderr


def test_full_disk_behind_stdout_prints_one_sentence(sandbox: Sandbox) -> None:
    lines = [["models"], ["models", "--json"], ["--version"], ["--help"]]
    codes, done = sandbox.shell_commands(lines, before="os.dup2(os.open('/dev/full', os.O_WRONLY), 1)")
    assert codes == [1] * len(lines)
    errors = done.stderr.splitlines()
    assert errors[-1] == b"'standard output': no space left on device"
    assert errors.count(errors[-1]) == len(lines)


def test_full_disk_behind_stdout_of_a_single_command_prints_one_sentence(sandbox: Sandbox) -> None:
    done = sandbox.shell("zoo --version >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == b"'standard output': no space left on device"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams_do_not_change_the_exit_code(sandbox: Sandbox, closed: tuple[int, ...]) -> None:
    """The first command starts with closed streams; they are closed again before the second."""
    before = f"[os.close(fd) for fd in {closed} if codes]"
    redirections = " ".join("0<&-" if fd == 0 else f"{fd}>&-" for fd in closed)
    lines = [["predict", "flats", "rows.csv"], ["show", "nothing"]]
    codes, _ = sandbox.shell_commands(lines, before=before, redirections=redirections)
    assert codes == [0, 1]


@pytest.mark.parametrize(
    ("environment", "arrives"),
    [
        ({"PYTHONIOENCODING": "ascii"}, b"V\\xf6gel \\u2026 \\U0001f426"),
        ({"PYTHONIOENCODING": "latin-1"}, b"V\xf6gel \\u2026 \\U0001f426"),
        ({"PYTHONIOENCODING": "cp1252"}, b"V\xf6gel \x85 \\U0001f426"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"V\\xf6gel \\u2026 \\U0001f426"),
        ({"LC_ALL": "C"}, "Vögel … 🐦".encode()),
        ({"LC_ALL": "xx_YY.nonsense", "TERM": "dumb", "NO_COLOR": "1", "TZ": "No/Where"}, "Vögel … 🐦".encode()),
    ],
)
def test_labels_outside_the_console_encoding_are_escaped(
    sandbox: Sandbox, environment: dict[str, str], arrives: bytes
) -> None:
    (sandbox.folder / "Straße.jpg").write_text("Vögel … 🐦", encoding="utf-8")  # the fake server's label
    lines = [["predict", "efficientnet_lite0", "Straße.jpg"], ["predict", "all_minilm_l6_v2", LONG, "a cat …"]]
    codes, done = sandbox.shell_commands(lines, **environment)
    assert codes == [0, 0], done.stderr
    assert arrives in done.stdout


def test_file_name_that_is_not_utf8_is_read_and_escaped(sandbox: Sandbox) -> None:
    done = sandbox.shell("zoo predict efficientnet_lite0 not-*-utf8.jpg")
    assert done.returncode == 0, done.stderr
    assert b"not-\\udcff-utf8.jpg" in done.stdout


@pytest.mark.parametrize("columns", ["1", "2", "-5", "x", "100000"])
def test_columns_variable_of_any_value_is_accepted(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert sandbox.run_expected("models", "--server", "SERVER")[0] == 0


def test_terminal_of_any_width_is_accepted(sandbox: Sandbox) -> None:
    line = f"script -qec 'stty cols 1 2>/dev/null; {ZOO_COMMAND} models' /dev/null"
    assert sandbox.shell(line, COLUMNS="0").returncode == 0


def test_ctrl_c_exits_with_130_and_prints_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(60)
        process = subprocess.Popen(
            [sys.executable, "-c", "from service.cli.main import main; main()", "predict", "m", "x"],
            env=os.environ | {"ZOO_SERVER": f"127.0.0.1:{silent.getsockname()[1]}", "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with silent.accept()[0]:  # the command waits for an answer
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130
