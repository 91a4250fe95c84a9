"""No command line makes `zoo` print a traceback: random ones, and each unusual word where a command takes one."""

from __future__ import annotations

import os
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.cli.main import app
from tests.support.fake_zoo.sandbox import Sandbox

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
    "unix:",
    "unix:\udcff",
    "unix:/nowhere/zoo.sock",
    LONG,
]


def commands() -> list[tuple[tuple[str, ...], Any]]:
    """Every command with its parameters, those of groups among them."""
    found: list[tuple[tuple[str, ...], Any]] = []

    def walk(path: tuple[str, ...], command: Any) -> None:
        found.append((path, command))
        for name, inner in getattr(command, "commands", {}).items():
            walk((*path, name), inner)

    walk((), typer.main.get_command(app))
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


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=command_lines())
def test_random_command_line_ends_without_a_traceback(sandbox: Sandbox, line: list[str]) -> None:
    sandbox.run_expected(*line)


MODELS = ["efficientnet_lite0", "silero_vad", "all_minilm_l6_v2", "flats", "sales", "homes"]


@pytest.mark.parametrize("model", MODELS)
def test_unusual_predict_input_ends_without_a_traceback(sandbox: Sandbox, model: str) -> None:
    for word in WORDS:
        sandbox.run_expected("predict", model, "--server", "SERVER", "--json", "--", word)


def test_unusual_finetune_data_ends_without_a_traceback(sandbox: Sandbox) -> None:
    for name in NAMES:
        line = ["finetune", "--server", "SERVER", "--name", "mine", "--detach", "--", "efficientnet_lite0", name]
        sandbox.run_expected(*line)


NUMERIC_OPTIONS = [
    *(
        ("predict", "all_minilm_l6_v2", "a", f"--{option}")
        for option in ("top-k", "threshold", "max-new-tokens", "temperature", "seed", "priority")
    ),
    ("finetune", "efficientnet_lite0", "photo.jpg", "--name", "mine", "--detach", "--seed"),
    ("finetune", "efficientnet_lite0", "photo.jpg", "--name", "mine", "--detach", "--priority"),
    ("jobs", "watch", "x", "--after"),
    ("canary", "silero_vad", "1", "--share"),
]


@pytest.mark.parametrize("line", NUMERIC_OPTIONS, ids=lambda line: f"{line[0]}{line[-1]}")
def test_unusual_number_of_an_option_ends_without_a_traceback(sandbox: Sandbox, line: tuple[str, ...]) -> None:
    for number in NUMBERS:
        sandbox.run_expected(*line, number, "--server", "SERVER")


@pytest.mark.parametrize(
    "line",
    [
        ("set", "silero_vad", "--server", "SERVER", "--"),
        ("finetune", "efficientnet_lite0", "rows.csv", "--name", "mine", "--detach", "--server", "SERVER", "--set"),
        ("serve", "--set"),
        ("serve", "--port"),
        ("promote", "silero_vad", "--server", "SERVER", "--"),
        ("alias", "silero_vad", "best", "--server", "SERVER", "--"),
    ],
    ids=lambda line: f"{line[0]} {line[-1]}",
)
def test_unusual_value_of_an_option_ends_without_a_traceback(sandbox: Sandbox, line: tuple[str, ...]) -> None:
    for value in VALUES:
        sandbox.run_expected(*line, value)


@pytest.mark.parametrize("address", ADDRESSES)
def test_unusual_server_address_ends_without_a_traceback(sandbox: Sandbox, address: str) -> None:
    for line in (["status"], ["jobs"], ["predict", "silero_vad", "photo.jpg"]):
        sandbox.run_expected(*line, "--server", address)


@pytest.mark.parametrize(
    "line",
    [
        ["show"],
        ["load"],
        ["unload"],
        ["versions"],
        ["report"],
        ["rollback"],
        ["jobs", "show"],
        ["jobs", "cancel"],
        ["datasets", "show"],
        ["datasets", "delete"],
    ],
    ids=" ".join,
)
def test_unusual_name_ends_without_a_traceback(sandbox: Sandbox, line: list[str]) -> None:
    for name in NAMES:
        sandbox.run_expected(*line, "--server", "SERVER", "--", name)


@pytest.mark.parametrize(
    "line",
    [
        ["photos", "index", "--server", "SERVER", "--"],
        ["photos", "index", "pictures", "--server", "SERVER", "--index"],
        ["photos", "search", "pictures", "--server", "SERVER", "--"],
        ["photos", "search", "pictures", "--server", "SERVER", "--like"],
    ],
    ids=lambda line: f"{line[1]} {line[-1]}",
)
def test_unusual_folder_word_or_file_of_photos_ends_without_a_traceback(sandbox: Sandbox, line: list[str]) -> None:
    sandbox.run_expected("photos", "index", "pictures", "--server", "SERVER")
    for name in NAMES:
        sandbox.run_expected(*line, name)
