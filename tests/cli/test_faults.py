"""Whatever a person types, and whatever breaks, `zoo …` ends with a sentence and an exit code, never with a traceback."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.cli import faults
from service.cli import main as module

from .fakes import FakeZoo, add_columns, add_structured

CODES = {0, faults.FAILED, faults.MISUSED, faults.INTERRUPTED}
LONG = "a" * 300
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
            line += [flag] if parameter.is_flag else [flag, draw(word)]
    return line + draw(st.lists(word, max_size=1))


class House:
    """A folder of strange files, a server, and the command run in it."""

    def __init__(self, folder: Path, zoo: FakeZoo, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.zoo, self.capfd = folder, zoo, capfd

    def run(self, *line: str) -> tuple[int, str, str]:
        """Exit code, standard output and error; the line `zoo failed unexpectedly` must be asked for."""
        sys.argv = ["zoo", *(self.zoo.target if word == "SERVER" else word for word in line)]
        with pytest.raises(SystemExit) as end:
            module.main()
        out, err = self.capfd.readouterr()
        assert end.value.code in CODES, (line, end.value.code)
        assert "Traceback" not in out + err, (line, err)
        assert "Error" not in err or "Error:" in err, (line, err)
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
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=lambda: b"", __iter__=None)))
    server = SimpleNamespace(run=lambda settings: None)
    monkeypatch.setitem(sys.modules, "service.server", server)
    monkeypatch.setattr("service.server", server, raising=False)
    return House(tmp_path, zoo, capfd)


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=command_lines())
def test_no_arguments_make_zoo_print_a_traceback(house: House, line: list[str]) -> None:
    _, _, err = house.run(*line)
    assert "zoo failed unexpectedly" not in err, (line, err, house.log)


def test_dummy_imports() -> None:
    assert errno
