"""Models that were pulled from ONNX files, with the files read in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from model_zoo import strict_json
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from service.references.onnx import file_process
from service.references.onnx.file_worker import WorkerRequest, reply_to
from service.references.pull import Pulled, pull_reference


def reply(worker: Sequence[str], line: bytes, timeout_s: float) -> dict[str, Any]:
    """The reply of the process that reads files, without the process: starting it takes seconds."""
    return reply_to(strict_json.read_model(WorkerRequest, line))


def pulled_here(path: Path, home: Path, name: str = "tiny", **settings: str) -> Pulled:
    """A file as a model of a home."""
    with mock.patch.object(file_process, "reply_of", reply):
        return pull_reference(parse_reference(f"onnx:{path}"), home, name=name, given=Given(settings=settings))
