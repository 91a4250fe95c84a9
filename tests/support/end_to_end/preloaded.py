"""The `zoo` command in forks of one process that has imported the server: an import of torch takes seconds, a fork takes none.

For commands that end and do not depend on how the interpreter starts. `python -m tests.support.end_to_end.preloaded`
reads orders from standard input, one JSON object a line, and answers each with an exit code.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.end_to_end.server_process import REPOSITORY, environment


def run_preloaded(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """As `run_zoo`, in a fork."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        words = [str(word) for word in arguments]
        order = {"words": words, "environment": environment(**settings), "out": str(out), "err": str(err)}
        parent = _parent()
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(json.dumps(order) + "\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        return subprocess.CompletedProcess(
            ["zoo", *words], code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        )


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


@cache
def _parent() -> subprocess.Popen[str]:
    """The process that forks. One for all tests of this process; it ends with it."""
    parent = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    atexit.register(parent.kill)
    return parent


def main() -> None:
    """Forks for each order."""
    import service.server  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become_zoo(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become_zoo(order: dict[str, object]) -> None:
    from service.cli.main import main as zoo
    from service.observability.standard_streams import flush

    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[arg-type]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for fd, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(str(order[name]), os.O_WRONLY | os.O_CREAT), fd)
    sys.argv = ["zoo", *order["words"]]  # type: ignore[misc]
    code = 1
    try:
        zoo()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        flush()  # which happens at the end of an interpreter, and this one does not come to it
        os._exit(code)


if __name__ == "__main__":
    main()
