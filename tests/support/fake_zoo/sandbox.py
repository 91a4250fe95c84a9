"""A folder of unusual files, a fake server, and the `zoo` command run on them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import crash_log
from service.cli.exit_codes import FAILED, INTERRUPTED, MISUSED
from service.cli.main import main
from tests.support.fake_zoo.server import FakeZoo
from tests.support.paths import REPOSITORY

CODES = {0, FAILED, MISUSED, INTERRUPTED}
STDIN = b"a cat\n\xff\n[1, 2"
ZOO_COMMAND = f'"{sys.executable}" -c "from service.cli.main import main; main()"'
SEVERAL_COMMANDS = """
import json, os, sys
from service.cli.main import main
lines, before, codes = json.loads(sys.argv[1]), sys.argv[2], []
for line in lines:
    exec(before)
    sys.argv = ["zoo", *line]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code)
with open("codes", "w") as file:
    json.dump(codes, file)
"""
"""Runs several command lines in one new process, each on streams that `before` has prepared."""


class Sandbox:
    def __init__(
        self, folder: Path, zoo: FakeZoo, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder, self.zoo, self._capfd, self._monkeypatch = folder, zoo, capfd, monkeypatch

    def run(self, *line: str) -> tuple[int, str, str]:
        """Runs a command in this process: exit code, standard output and error. `SERVER` stands for the server's address."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STDIN)))
        sys.argv = ["zoo", *(self.zoo.target if word == "SERVER" else word for word in line)]
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self._capfd.readouterr()
        assert end.value.code in CODES, (line, end.value.code)
        assert "Traceback" not in out + err, (line, err)
        return int(end.value.code or 0), out, err

    def run_expected(self, *line: str) -> tuple[int, str, str]:
        """Runs a command that must not fail unexpectedly."""
        done = self.run(*line)
        assert "zoo failed unexpectedly" not in done[2], (line, done[2], self.log)
        return done

    def shell(self, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a line of bash in which `zoo` is the command. The exit code of a pipe is that of its last command that fails."""
        script = f'zoo() {{ {ZOO_COMMAND} "$@"; }}\n{line}'
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment() | environment,
            capture_output=True,
            timeout=120,
        )
        for sign in (b"Traceback", b"Exception ignored", b"zoo failed"):
            assert sign not in done.stdout + done.stderr, done.stderr
        return done

    def shell_commands(
        self, lines: list[list[str]], *, before: str = "", redirections: str = "", **environment: str
    ) -> tuple[list[int], subprocess.CompletedProcess[bytes]]:
        """Runs several commands in one new process with real streams, and gives their exit codes."""
        (self.folder / "several.py").write_text(SEVERAL_COMMANDS)
        (self.folder / "lines").write_text(json.dumps(lines))
        (self.folder / "before").write_text(before)
        command = f'"{sys.executable}" several.py "$(cat lines)" "$(cat before)" {redirections}'
        done = self.shell(command, **environment)
        return json.loads((self.folder / "codes").read_text()), done

    @property
    def log(self) -> str:
        path = self.folder / "home" / "log" / crash_log.LOG_NAME
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def _environment(self) -> dict[str, str]:
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("ZOO_", "PYTHON", "LC_", "LANG"))
        }
        return variables | {
            "ZOO_HOME": str(self.folder / "home"),
            "ZOO_SERVER": self.zoo.target,
            "PYTHONPATH": str(REPOSITORY),
        }


def write_unusual_files(folder: Path) -> None:
    (folder / "photo.jpg").write_bytes(b"a photo")
    (folder / os.fsdecode(b"not-\xff-utf8.jpg")).write_bytes(b"another")
    (folder / "pictures" / "cats").mkdir(parents=True)
    (folder / "pictures" / "cats" / os.fsdecode(b"\xe9.jpg")).write_bytes(b"a cat")
    (folder / "empty").mkdir()
    (folder / "rows.csv").write_text("area,rooms\n70,3\n")
    (folder / "rows.jsonl").write_text('{"area": 70}\n{"area": \n')
    (folder / "broken.csv").write_text('area,"rooms\n70\n1,2,3\n')
    (folder / "bytes.csv").write_bytes(b"\xff\xfe\0\xd8area\n\0")
    (folder / "README.md").write_text("# A title\n")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
