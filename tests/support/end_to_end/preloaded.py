"""The `zoo` command in a fork of the preloaded process. For commands that end and do not depend on how the interpreter starts."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.support.end_to_end.server_process import TIMEOUT_S, environment
from tests.support.paths import REPOSITORY
from tests.support.preloaded_process import PreloadedProcess


def run_preloaded(*arguments: str | Path, cwd: Path = REPOSITORY, **settings: str) -> subprocess.CompletedProcess[str]:
    """As `run_zoo`, in a fork."""
    command = ["zoo", *map(str, arguments)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        process = PreloadedProcess(command, cwd=cwd, env=environment(**settings), stdout=out, stderr=err)
        code = process.wait(TIMEOUT_S)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def sentence_of(ended: subprocess.CompletedProcess[str]) -> str:
    """One sentence on stderr, exit code 2, and no trace."""
    assert ended.returncode == 2, ended.stderr
    sentences = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert "Traceback" not in ended.stderr
    assert "live" not in ended.stdout
    assert len(sentences) == 1, ended.stderr
    return sentences[0]


def refuses_to_start(*arguments: str, **settings: str) -> str:
    """The sentence with which `zoo serve` ends."""
    return sentence_of(run_preloaded("serve", *arguments, **settings))
