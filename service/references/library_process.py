"""Asks the makers' library for its answers, in a process of its own (`library_answers.py`)."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.errors import NotEqual
from service.processes import ChildProcess, environment_of_offline_child, log_of_libraries
from service.references.library_answers import OFFLINE
from service.references.library_request import LibraryRequest

WORKER = (sys.executable, "-m", "service.references.library_answers")
TIMEOUT_S = 1800.0
"""A large network on a slow disk takes minutes to load."""


def library_answers(reference: str, request: LibraryRequest) -> list[Any]:
    """The library's answer to each input of the request. Raises NotEqual where it gives none; `reference` is for messages."""
    return answers_of(reference, reply_of(WORKER, strict_json.text(request).encode(), TIMEOUT_S))


def answers_of(reference: str, reply: dict[str, Any] | None) -> list[Any]:
    """The answers in a reply of the process; None where it ended without one. Raises NotEqual."""
    if reply is None:
        reason = "the process that runs it ended without an answer, perhaps for want of memory"
        raise NotEqual(reference, reason, compared=False)
    if "reason" in reply:
        raise NotEqual(reference, str(reply["reason"]), compared=False)
    return list(reply["answers"])


def reply_of(worker: Sequence[str], line: bytes, timeout_s: float) -> dict[str, Any] | None:
    """The line of JSON with which a worker answers a line; None where it ends without one, or takes longer."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as empty:
        # An empty working directory: a file in another one could be imported in place of a library.
        process = ChildProcess.start(
            worker, env=environment_of_offline_child(**OFFLINE), cwd=Path(empty), stderr=log_of_libraries()
        )
        try:
            with process.killed_after(timeout_s):
                process.write_line(line)
                answer = process.read_line()
        except OSError:
            answer = None
        finally:
            process.end(grace_s=0.0)
    return None if answer is None else strict_json.parsed_object(answer)
