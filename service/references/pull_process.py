"""Pulls a reference in a process of its own (`pull_worker.py`). This module imports neither torch nor a library of models."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_zoo import strict_json
from model_zoo.errors import PullRefused
from model_zoo.sources.artifact_source import Progress
from service.processes import (
    ChildProcess,
    environment_of_offline_child,
    environment_without_secrets,
    log_of_libraries,
)
from service.references.pull_messages import PullOrder, PullReport

GRACE_S = 10.0
"""Time for a process to remove what is half done."""
WORKER = (sys.executable, "-m", "service.references.pull_worker")
_HUB_SETTINGS = ("HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN")
OF_S3 = "AWS_"
"""Beginning of the variables that a pull from a bucket of S3 needs. The processes that it starts do not have them."""


@dataclass(frozen=True)
class PulledModel:
    """A model that was pulled.

    Attributes:
        already: whether it was on this machine before.
    """

    name: str
    already: bool


class PullProcess:
    """One pull. `run` blocks; another thread may `stop` it."""

    def __init__(self, order: PullOrder) -> None:
        self._order = order
        self._process: ChildProcess | None = None
        self._stopped = False

    def stop(self) -> None:
        """Ends the pull; what was fetched stays for the next one, and nothing half done does."""
        self._stopped = True
        if self._process is not None:
            self._process.terminate()

    def run(self, say: Callable[[str], None], progress: Progress) -> PulledModel:
        """The pulled model. `say` and `progress` are called in this thread. Raises PullRefused."""
        with tempfile.TemporaryDirectory(prefix="zoo-") as empty:
            # An empty working directory: a file in another one could be imported in place of a library.
            process = self._process = ChildProcess.start(
                WORKER,
                env=environment_of_offline_child(**_read_at_import()),
                cwd=Path(empty),
                stderr=log_of_libraries(),
            )
            try:
                if self._stopped:
                    process.terminate()
                process.write_line(strict_json.text(self._order).encode())
                process.write_line(strict_json.text(_credentials(self._order)).encode())
                last = self._follow(process, say, progress)
            except OSError:
                last = None
            finally:
                process.end(grace_s=GRACE_S)
        if last is None:
            what = f"{self._order.name or self._order.reference} was not pulled"
            why = "it was stopped" if self._stopped else "the process that pulls it ended, perhaps for want of memory"
            raise PullRefused(f"{what}: {why}", "")
        if last.kind == "refused":
            raise PullRefused(last.text, last.error)
        return PulledModel(last.text, last.already)

    def _follow(self, process: ChildProcess, say: Callable[[str], None], progress: Progress) -> PullReport | None:
        while (line := process.read_line()) is not None:
            report = strict_json.read_model(PullReport, line)
            match report.kind:
                case "line":
                    say(report.text)
                case "progress":
                    progress(report.done, report.total, report.text)
                case _:
                    return report
        return None


def _credentials(order: PullOrder) -> dict[str, str]:
    """Variables by which a pull finds and convinces a server. The process gets them once it has forked that of the library, whose
    environment never had them."""
    allowed, there = environment_without_secrets(*_needed(order)), environment_of_offline_child()
    return {name: value for name, value in allowed.items() if name not in there}


def _read_at_import() -> dict[str, str]:
    """Settings of the hub's library without secrets, which it reads when it is imported."""
    return {name: os.environ[name] for name in _HUB_SETTINGS if name in os.environ}


def _needed(order: PullOrder) -> tuple[str, ...]:
    """Beginnings of variables with secrets that the pull needs."""
    address = order.locked.source.url if order.locked and order.locked.source.kind == "url" else order.reference
    return (OF_S3,) if address.removeprefix("onnx:").lower().startswith("s3://") else ()
