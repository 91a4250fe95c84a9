"""The parent's side of `validate.py`: starts the process, reads its answer, and ends it when the caller is cancelled."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from model_zoo import strict_json
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import counted
from service.errors import InternalError, InvalidInput, StorageFull
from service.processes import AsyncChildProcess

COMMAND = (sys.executable, "-P", "-m", "service.datasets.validation.validate")
SECRET_PREFIXES = ("AWS_", "ZOO_", "MLFLOW_", "OTEL_")
"""Of environment variables that a process which opens files of users must not have."""
LOG = "log.txt"
LOG_SHOWN = 4000
"""Characters of the process's log, from its end, that the server's log repeats."""
OUT_OF_MEMORY_SIGNS = ("bad_alloc", "MemoryError", "out of memory", "Cannot allocate memory", "malloc of size")
"""Parts of the messages of libraries that run out of memory."""
ANSWER_LIMIT = 1 << 20
"""Bytes."""

_log = structlog.get_logger(__name__)


async def run(staging: Path, limits: DatasetLimits) -> None:
    """Validates the upload in a staging folder, which then holds `dataset/`. A cancelled call ends the process.

    Raises InvalidInput for data that cannot be used, StorageFull for a full disk, InternalError for any other failure.
    """
    with (staging / LOG).open("wb") as log:
        process = await AsyncChildProcess.start(
            (*COMMAND, str(staging)), env=_environment(staging), stderr=log, line_limit=ANSWER_LIMIT
        )
    try:
        answer = await process.read_line()
        code = await process.wait()
    finally:
        await process.end()
    _raise_unless_valid(answer or b"", code, staging, limits)


def _raise_unless_valid(line: bytes, code: int, staging: Path, limits: DatasetLimits) -> None:
    answer: object = None
    with suppress(ValueError):
        answer = strict_json.read(line)
    if isinstance(answer, dict) and answer.get("ok"):
        return
    if isinstance(answer, dict) and answer.get("full"):
        raise StorageFull("the disk has no room for the dataset beside its upload")
    if isinstance(answer, dict) and isinstance(error := answer.get("error"), dict):
        raise InvalidInput(str(error.get("field", "")), str(error.get("problem", "")))
    log = (staging / LOG).read_bytes()[-LOG_SHOWN:].decode("utf-8", "replace")
    if code < 0:
        _log.error("dataset_validation_died", code=code, log=log)
        raise InvalidInput("data", _cause_of_death(-code, log, limits))
    reference = staging.name[-8:]
    _log.error("dataset_validation_failed", code=code, log=log, reference=reference)
    raise InternalError(reference)


def _cause_of_death(number: int, log: str, limits: DatasetLimits) -> str:
    """Why the process ended without an answer, as far as its signal and its log show."""
    if number == signal.SIGXCPU:
        return f"takes more than {counted(limits.cpu_seconds, 'second')} of processor time to read; send less at once"
    if any(sign in log for sign in OUT_OF_MEMORY_SIGNS):
        return f"takes more than {limits.memory_mib} MiB of memory to read; send less at once"
    if number == signal.SIGKILL:
        return (
            "the process that read it was killed from outside (SIGKILL), as systems do that run out of memory;"
            " try again, or send less at once"
        )
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return f"the process that read it was ended from outside ({name}); try again"
    return f"the program that reads it crashed on it ({name}): the file is probably damaged; write it again, or as another format"


def _environment(staging: Path) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(SECRET_PREFIXES)}
    return {
        **variables,
        "TMPDIR": str(staging),
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
    }
