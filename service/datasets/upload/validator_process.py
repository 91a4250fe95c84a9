"""The parent's side of `validate.py`: starts it, hears what it says, and ends it when nobody wants the answer any more."""

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

CHILD = (sys.executable, "-P", "-m", "service.datasets.validation.validate")
SECRETS = ("AWS_", "ZOO_", "MLFLOW_")
"""Prefixes of environment variables that a process which opens untrusted files does not need."""
LOG = "log.txt"
LOG_SHOWN = 4000
OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "out of memory", "Cannot allocate memory", "malloc of size")
"""What libraries print before they abort for lack of memory."""
LONGEST_ANSWER = 1 << 20

_log = structlog.get_logger(__name__)


async def run(staging: Path, limits: DatasetLimits) -> None:
    """Validate what lies in a staging folder; it then holds `dataset/`. A cancelled caller ends the child.

    Raises InvalidInput for data that cannot be used, StorageFull where the disk is, InternalError for anything else.
    """
    with (staging / LOG).open("wb") as log:
        process = await AsyncChildProcess.start(
            (*CHILD, str(staging)), env=_environment(staging), stderr=log, line_limit=LONGEST_ANSWER
        )
    try:
        answer = await process.read_line()
        code = await process.wait()
    finally:
        await process.end()
    _judge(answer or b"", code, staging, limits)


def _judge(said: bytes, code: int, staging: Path, limits: DatasetLimits) -> None:
    answer: object = None
    with suppress(ValueError):
        answer = strict_json.read(said)
    if isinstance(answer, dict) and answer.get("ok"):
        return
    if isinstance(answer, dict) and answer.get("full"):
        raise StorageFull("the disk has no room for the dataset beside its upload")
    if isinstance(answer, dict) and isinstance(error := answer.get("error"), dict):
        raise InvalidInput(str(error.get("field", "")), str(error.get("problem", "")))
    log = (staging / LOG).read_bytes()[-LOG_SHOWN:].decode("utf-8", "replace")
    if code < 0:
        _log.error("dataset_validation_died", code=code, log=log)
        raise InvalidInput("data", _died_of(-code, log, limits))
    reference = staging.name[-8:]
    _log.error("dataset_validation_failed", code=code, log=log, reference=reference)
    raise InternalError(reference)


def _died_of(number: int, log: str, limits: DatasetLimits) -> str:
    """Why the child ended without an answer, as far as signal and log tell."""
    if number == signal.SIGXCPU:
        return f"takes more than {counted(limits.cpu_seconds, 'second')} of processor time to read; send less at once"
    if any(sign in log for sign in OUT_OF_MEMORY):
        return f"takes more than {limits.memory_mib} MiB of memory to read; send less at once"
    if number == signal.SIGKILL:
        return (
            "the process that read it was killed from outside (SIGKILL), as systems do that run out of memory;"
            " try again, or send less at once"
        )
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return f"the process that read it was ended from outside ({name}); try again"
    return f"the program that reads it crashed on it ({name}): the file is probably damaged; write it anew, or as another format"


def _environment(staging: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
    return {
        **kept,
        "TMPDIR": str(staging),
        "OMP_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
    }
