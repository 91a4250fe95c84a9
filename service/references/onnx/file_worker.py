"""Reads and runs an unknown ONNX file: `python -m service.references.onnx.file_worker`, started by `file_process.py` alone.

A line of JSON comes on standard input (`WorkerRequest`), and one goes out on standard output: `{"facts": …}`,
`{"single_rows_because": …}` with the outputs in a file of safetensors, `{"not_written": "no space left on device"}` where that
file cannot be written, or `{"reason": "one sentence"}`.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from model_zoo import strict_json
from model_zoo.errors import panics_as_errors
from model_zoo.references.onnx.facts import Unusable
from service.observability.standard_streams import protect
from service.processes import end_with_parent
from service.references.onnx.trial import TrialRequest, try_out


class WorkerRequest(BaseModel):
    """One of a file to read and a network to try out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_bytes: int
    """Limit of the process."""
    seconds: int
    """Limit of its processor time."""
    read: str | None = None
    """Path of a file."""
    trial: TrialRequest | None = None


def answer(request: WorkerRequest) -> dict[str, Any]:
    """The reply to a request. Raises Unusable."""
    if request.read is not None:
        from model_zoo.references.onnx.graph_facts import facts_of

        return {"facts": facts_of(Path(request.read)).model_dump(mode="json")}
    assert request.trial is not None
    from safetensors.numpy import save_file

    from model_zoo.system_errors import system_errors

    outputs, because = try_out(request.trial)
    named = {f"{i}.{name}": array for i, row in enumerate(outputs) for name, array in row.items()}
    try:
        with system_errors(request.trial.results):
            save_file(named, request.trial.results)
    except OSError as error:
        traceback.print_exc()
        return {"not_written": error.strerror}
    return {"single_rows_because": because}


def reply_to(request: WorkerRequest) -> dict[str, Any]:
    """The answer to a request, or the reason why there is none."""
    try:
        with panics_as_errors():
            return answer(request)
    except Unusable as error:
        traceback.print_exc()
        return {"reason": str(error)}
    except MemoryError:
        return {"reason": f"it needs more than {request.memory_bytes / 1e9:.1f} GB of memory"}
    except ImportError as error:
        traceback.print_exc()
        return {"reason": f"the package {error.name} is not installed"}
    except Exception as error:
        traceback.print_exc()
        return {"reason": f"it cannot be read ({type(error).__name__})"}


def _limit(request: WorkerRequest) -> None:
    """Takes on the limits. On systems without them the parent's limit on time remains."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (request.memory_bytes, request.memory_bytes))
        resource.setrlimit(resource.RLIMIT_CPU, (request.seconds, request.seconds + 1))


def main() -> None:
    """Answers one request. The exit code is 0 also where the file is refused."""
    line = sys.stdin.buffer.raw.readline()  # type: ignore[union-attr]  # unbuffered: `end_with_parent` reads the rest
    request = strict_json.read_model(WorkerRequest, line)
    end_with_parent()
    reply = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # the output of libraries goes to the log
    protect()
    _limit(request)
    reply.write(strict_json.text(reply_to(request)) + "\n")
    reply.flush()


if __name__ == "__main__":
    main()
