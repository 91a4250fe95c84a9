"""The death of a process that reads a dataset is explained to the user, and only by what is known of it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.upload import validator_process
from service.errors import InternalError, InvalidInput


def died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Exception:
    monkeypatch.setattr(validator_process, "COMMAND", (sys.executable, "-P", "-c", f"import os, signal, sys\n{code}"))
    with pytest.raises((InvalidInput, InternalError)) as caught:
        asyncio.run(validator_process.run(tmp_path, DatasetLimits(memory_mib=100, cpu_seconds=7)))
    return caught.value


def by(number: signal.Signals) -> str:
    return f"os.kill(os.getpid(), {int(number)})\nsignal.pause()"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (by(signal.SIGXCPU), "takes more than 7 seconds of processor time to read"),
        (by(signal.SIGKILL), "was killed from outside (SIGKILL), as systems do that run out of memory"),
        (by(signal.SIGTERM), "was ended from outside (SIGTERM)"),
        (by(signal.SIGSEGV), "crashed on it (SIGSEGV): the file is probably damaged"),
        (by(signal.SIGABRT), "crashed on it (SIGABRT): the file is probably damaged"),
        (
            "os.write(2, b\"terminate called after throwing an instance of 'std::bad_alloc'\")\n" + by(signal.SIGABRT),
            "takes more than 100 MiB of memory to read",
        ),
    ],
)
def test_death_of_the_validator_is_explained_by_its_signal_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, sentence: str
) -> None:
    error = died(tmp_path, monkeypatch, code)
    assert isinstance(error, InvalidInput)
    assert error.field == "data"
    assert sentence in error.problem


def test_unexplained_exit_of_the_validator_is_an_internal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(died(tmp_path, monkeypatch, "sys.exit(70)"), InternalError)


def test_unforeseen_error_ends_the_validator_with_an_exit_code_and_no_signal(tmp_path: Path) -> None:
    """Otherwise the interpreter aborts at its end while a thread still reads, as if memory had run out."""
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "order.json").write_text('{"id": "of no order"}')
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(
            *validator_process.COMMAND,
            str(staging),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        code = await process.wait()
        assert process.stdin is not None
        process.stdin.close()
        return code

    assert asyncio.run(run()) > 0
