"""Whatever a person types, and whatever breaks, `zoo …` ends with a sentence and an exit code, never with a traceback."""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.cli import faults
from service.cli import main as module
from tests.support.cli_server import FakeZoo, add_columns, add_structured

REPOSITORY = Path(__file__).resolve().parents[2]
CODES = {0, faults.FAILED, faults.MISUSED, faults.INTERRUPTED}
LONG = "a" * 300
STDIN = b"a cat\n\xff\n[1, 2"
NAMES = [
    "",
    " ",
    "-",
    "--",
    "-x",
    "--help",
    "--json",
    LONG,
    "a/" * 3000,
    "two\nlines",
    "nul\0here",
    "\udcff.jpg",
    "\ud800",
    "…",
    "日本語",
    "\x1b[31mred",
    "%s %(x)s {0} {x}",
    "[bold]",
    "aGVsbG8gd29ybGQ=" * 40,
    "http://example.invalid/a.jpg",
    "file:///etc/passwd",
    "s3://bucket/key",
    "~nouser/x",
    "README.md",
    "no/such/file.jpg",
    "photo.jpg",
    "photo.jpg/below",
    "pictures",
    "empty",
    "rows.csv",
    "rows.jsonl",
    "broken.csv",
    "bytes.csv",
    "loop",
    "dangling",
    os.fsdecode(b"not-\xff-utf8.jpg"),
    "efficientnet_lite0",
    "silero_vad",
    "all_minilm_l6_v2",
    "flats",
    "sales",
    "homes",
]
VALUES = [
    "0",
    "-1",
    "1",
    "1.5",
    "nan",
    "inf",
    "1e400",
    str(2**31),
    str(2**63),
    str(2**64),
    "9" * 400,
    "٣",
    "true",
    "a=1",
    "weight=nan",
    "weight=1e999",
    "max_batch_size=99999999999999999999",
    "=",
    "=1",
    "a=",
    "{",
    "{}",
    "[]",
    "[" * 5000,
    '{"area": 1e999}',
    '{"a": "\\ud800"}',
    "[1, 2, 3]",
    '{"image": "a\\u0000b.jpg", "row": {"area": 1}}',
]
NUMBERS = [
    "0",
    "1",
    "-1",
    "3",
    "9",
    "0.5",
    str(2**31 - 1),
    str(2**31),
    str(2**63),
    str(-(2**63) - 1),
    str(2**64),
    "1e308",
    "nan",
    "inf",
]
WORDS = NAMES + VALUES
ADDRESSES = [
    "",
    ":",
    ":1",
    "[::1",
    "[::1]x",
    "::1::",
    "a:b:c",
    "127.0.0.1:x",
    "127.0.0.1:99999",
    "\udcff:1",
    "a b",
    LONG,
]


def commands() -> list[tuple[tuple[str, ...], Any]]:
    """Every command with its parameters, those of groups among them."""
    found: list[tuple[tuple[str, ...], Any]] = []

    def walk(path: tuple[str, ...], command: Any) -> None:
        found.append((path, command))
        for name, inner in getattr(command, "commands", {}).items():
            walk((*path, name), inner)

    walk((), typer.main.get_command(module.app))
    return found


COMMANDS = commands()


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with some of its own arguments and options, and strange words in them."""
    path, command = draw(st.sampled_from(COMMANDS))
    line = [*path]
    word = st.one_of(st.sampled_from(WORDS), st.text(max_size=8))
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            line += draw(
                st.lists(word, min_size=1 if parameter.required else 0, max_size=3 if parameter.nargs < 0 else 1)
            )
        elif parameter.name == "server":
            line += ["--server", draw(st.sampled_from(["SERVER"] * 12 + ADDRESSES))]
        elif draw(st.integers(0, 3)) == 0 and parameter.name != "help":
            flag = draw(st.sampled_from(parameter.opts))
            number = parameter.type_descriptor.annotation in (int, float) and draw(st.integers(0, 4))
            line += [flag] if parameter.is_flag else [flag, draw(st.sampled_from(NUMBERS) if number else word)]
    return line + draw(st.lists(word, max_size=1))


class House:
    """A folder of strange files, a server, and the command run in it."""

    def __init__(
        self, folder: Path, zoo: FakeZoo, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder, self.zoo, self.capfd, self.monkeypatch = folder, zoo, capfd, monkeypatch

    def run(self, *line: str) -> tuple[int, str, str]:
        """Exit code, standard output and error; the line `zoo failed unexpectedly` must be asked for."""
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STDIN)))
        sys.argv = ["zoo", *(self.zoo.target if word == "SERVER" else word for word in line)]
        with pytest.raises(SystemExit) as end:
            module.main()
        out, err = self.capfd.readouterr()
        assert end.value.code in CODES, (line, end.value.code)
        assert "Traceback" not in out + err, (line, err)
        return int(end.value.code or 0), out, err

    @property
    def log(self) -> str:
        path = self.folder / "home" / "log" / faults.LOG
        return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.fixture
def house(tmp_path: Path, zoo: FakeZoo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> House:
    add_structured(zoo)
    add_columns(zoo)
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    (tmp_path / os.fsdecode(b"not-\xff-utf8.jpg")).write_bytes(b"another")
    (tmp_path / "pictures" / "cats").mkdir(parents=True)
    (tmp_path / "pictures" / "cats" / os.fsdecode(b"\xe9.jpg")).write_bytes(b"a cat")
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.csv").write_text("area,rooms\n70,3\n")
    (tmp_path / "rows.jsonl").write_text('{"area": 70}\n{"area": \n')
    (tmp_path / "broken.csv").write_text('area,"rooms\n70\n1,2,3\n')
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\0\xd8area\n\0")
    (tmp_path / "README.md").write_text("# A title\n")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setattr(faults, "prepare", lambda: None)
    monkeypatch.setattr(sys, "argv", ["zoo"])
    server = SimpleNamespace(run=lambda settings: None)
    monkeypatch.setitem(sys.modules, "service.server", server)
    monkeypatch.setattr("service.server", server, raising=False)
    return House(tmp_path, zoo, capfd, monkeypatch)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=command_lines())
def test_random_command_line_ends_without_a_traceback(house: House, line: list[str]) -> None:
    _, _, err = house.run(*line)
    assert "zoo failed unexpectedly" not in err, (line, err, house.log)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["efficientnet_lite0", "silero_vad", "all_minilm_l6_v2", "flats", "sales", "homes"])
def test_unusual_predict_input_ends_without_a_traceback(
    house: House, model: str, name: str
) -> None:
    _, _, err = house.run("predict", model, "--server", "SERVER", "--json", "--", name)
    assert "zoo failed unexpectedly" not in err, (err, house.log)


@pytest.mark.parametrize("name", NAMES)
def test_unusual_finetune_data_ends_without_a_traceback(house: House, name: str) -> None:
    line = ["finetune", "--server", "SERVER", "--name", "mine", "--detach", "--", "efficientnet_lite0", name]
    _, _, err = house.run(*line)
    assert "zoo failed unexpectedly" not in err, (err, house.log)


# ── faults that nobody foresaw ────────────────────────────────────────────────────────────────────────────────────


class Unshowable(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot be shown")


FAULTS: list[BaseException] = [
    KeyError("a bug"),
    RuntimeError("two\nlines \x1b[31m"),
    RecursionError("too deep"),
    MemoryError(),
    AssertionError(),
    Unshowable(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"),
    ModuleNotFoundError("No module named 'service.gone'", name="service.gone"),
    OSError("without a number"),
    OSError(errno.EIO, "Input/output error"),
    ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    GeneratorExit(),
]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Has `zoo status` end with an error."""

    def break_(error: BaseException) -> None:
        def status(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("service.client.Client.status", status)

    return break_


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_unexpected_error_prints_one_line_and_logs_the_traceback(
    house: House, broken: Callable[[BaseException], None], error: BaseException
) -> None:
    broken(error)
    code, out, err = house.run("status", "--server", "SERVER")
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    log = house.folder / "home" / "log" / faults.LOG
    assert line == f"zoo failed unexpectedly ({type(error).__name__}); the details are in {log}"
    assert type(error).__name__ in house.log
    assert "zoo status" in house.log
    assert log.stat().st_mode & 0o077 == 0 or log.parent.stat().st_mode & 0o077 == 0, "what it holds is its owner's"


def test_unexpected_error_without_writable_log_prints_one_line(
    house: House, broken: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_log_folders", lambda: [Path("/proc/nowhere"), house.folder / "photo.jpg"])
    broken(KeyError("two\nlines"))
    code, _, err = house.run("status", "--server", "SERVER")
    assert code == 1
    [line] = err.splitlines()
    assert line.startswith("zoo failed unexpectedly (KeyError) at ")


def test_large_log_is_rotated(house: House, broken: Callable[[BaseException], None]) -> None:
    folder = house.folder / "home" / "log"
    folder.mkdir(parents=True)
    (folder / faults.LOG).write_text("x" * (faults.LARGEST_LOG + 1))
    broken(KeyError("a bug"))
    house.run("status", "--server", "SERVER")
    assert len(house.log) < 10_000
    assert (folder / f"{faults.LOG}.1").stat().st_size == faults.LARGEST_LOG + 1


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
    house: House, broken: Callable[[BaseException], None], error: BaseException, code: int, says: str
) -> None:
    broken(error)
    assert house.run("status", "--server", "SERVER") == (code, "", says)
    assert house.log == ""


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
@pytest.mark.parametrize("details", ["", "of an older server", "\x1b[31m"])
def test_any_grpc_status_prints_one_sentence(
    house: House, status: grpc.StatusCode, details: str
) -> None:
    """Retries are tried as well, so that as many answers are ready."""
    house.zoo.to_fail_bare["GetJob"].extend([(status, details)] * 6)
    code, out, err = house.run("jobs", "show", "abc", "--server", "SERVER")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "zoo failed" not in err
    assert "\x1b" not in err


DYING = """
import os, signal
from tests.support.cli_server import FakeZoo
zoo = FakeZoo()
answer = zoo._enter
def die(method, request, context):
    if method in ("Predict", "StreamPredict"):
        os.kill(os.getpid(), signal.SIGKILL)
    answer(method, request, context)
zoo._enter = die
zoo.start()
print(zoo.target, flush=True)
signal.pause()
"""


def test_server_killed_during_a_call_prints_one_sentence(house: House) -> None:
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    with subprocess.Popen(
        [sys.executable, "-c", DYING], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as server:
        assert server.stdout is not None
        target = server.stdout.readline().strip()
        code, _, err = house.run("predict", "all_minilm_l6_v2", "a", "--server", target)
        assert server.wait() == -signal.SIGKILL
    assert code == 1
    assert "zoo failed" not in err
    assert target in err.splitlines()[-1]


# ── as real processes ─────────────────────────────────────────────────────────────────────────────────────────────

ZOO_COMMAND = f'"{sys.executable}" -c "from service.cli.main import main; main()"'


def shell(house: House, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of shell in which `zoo` is the command; its exit code is that of the first of a pipe."""
    script = f'zoo() {{ {ZOO_COMMAND} "$@"; }}\n{line}'
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("ZOO_", "PYTHON", "LC_", "LANG"))
    }
    variables |= {"ZOO_HOME": str(house.folder / "home"), "ZOO_SERVER": house.zoo.target, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=house.folder,
        env=variables | environment,
        capture_output=True,
        timeout=120,
    )
    for sign in (b"Traceback", b"Exception ignored", b"zoo failed"):
        assert sign not in done.stdout + done.stderr, done.stderr
    return done


def test_broken_pipe_ends_the_command_silently(house: House) -> None:
    for line in ("zoo models | head -c 1", "zoo models --json | true", "zoo predict flats rows.csv --json | true"):
        assert b"rror" not in shell(house, line).stderr


def test_full_disk_behind_stdout_prints_one_sentence(house: House) -> None:
    for line in (
        "zoo models >/dev/full",
        "zoo models --json >/dev/full",
        "zoo --version >/dev/full",
        "zoo --help >/dev/full",
    ):
        done = shell(house, line)
        assert done.returncode == 1, line
        assert done.stderr.splitlines()[-1] == b"'standard output': no space left on device", line


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_do_not_change_the_exit_code(house: House, closed: str) -> None:
    assert shell(house, f"zoo predict flats rows.csv {closed}").returncode == 0
    assert shell(house, f"zoo show nothing {closed}").returncode == 1


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
    house: House, environment: dict[str, str], arrives: bytes
) -> None:
    (house.folder / "Straße.jpg").write_text("Vögel … 🐦")  # what the server answers as its label
    done = shell(house, "zoo predict efficientnet_lite0 Straße.jpg", **environment)
    assert done.returncode == 0, done.stderr
    assert arrives in done.stdout
    long = shell(house, f"zoo predict all_minilm_l6_v2 {LONG} 'a cat …'", **environment)
    assert long.returncode == 0, long.stderr


def test_file_name_that_is_not_utf8_is_read_and_escaped(house: House) -> None:
    done = shell(house, "zoo predict efficientnet_lite0 not-*-utf8.jpg")
    assert done.returncode == 0, done.stderr
    assert b"not-\\udcff-utf8.jpg" in done.stdout


@pytest.mark.parametrize("columns", ["1", "2", "0", "-5", "x", "100000"])
def test_terminal_of_any_width_is_accepted(house: House, columns: str) -> None:
    line = "script -qec 'stty cols 1 2>/dev/null; zoo models' /dev/null" if columns == "0" else "zoo models"
    assert shell(house, line.replace("zoo models'", f"{ZOO_COMMAND} models'"), COLUMNS=columns).returncode == 0


def test_ctrl_c_exits_with_130_and_prints_nothing(house: House) -> None:
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
        with silent.accept()[0]:  # it has called, and waits
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130
