"""Reads, checks and rewrites one dataset in a process of its own: `python -m service.datasets.validation.validate STAGING`.

Users' files are opened only here. The process has limits on memory and processor time, runs at low priority, and ends when its
standard input does, which is when the server ends. It leaves a complete `STAGING/dataset/` and prints one line of JSON:

    {"ok": true} | {"error": {"field": …, "problem": …}} | {"full": true}        the last: the disk is full
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from model_zoo import strict_json
from service.datasets.dataset import Columns, DatasetInfo, DatasetKind, Skipped
from service.datasets.dataset_limits import MIB, DatasetLimits
from service.errors import InvalidInput
from service.observability.standard_streams import protect

REQUEST_FILE, DATASET, INFO_FILE = "order.json", "dataset", "dataset.json"
RAW = "raw"
NICENESS = 10
EXIT_FAILED = 70
"""Exit status after an error that the data did not cause; the log has its traceback."""
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ValidationRequest(BaseModel):
    """`STAGING/order.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    data: Path
    file_name: str
    sha256: str
    size_bytes: int
    kind: DatasetKind | None
    task: str = ""
    columns: Columns
    display_name: str
    uri: str
    owner: str
    limits: DatasetLimits
    left_out: tuple[Skipped, ...] = ()
    """Files of a folder on the server that were not copied."""


def validate(staging: Path) -> DatasetInfo:
    """Build `staging/dataset/` by `staging/order.json`. Raises InvalidInput for data that cannot be used."""
    from service.datasets.readers.detect import reader_for
    from service.datasets.readers.inferred_facts import InferredFacts
    from service.datasets.readers.parsed_example import TargetKind
    from service.datasets.validation.canonical import write_examples
    from service.datasets.validation.findings import Findings

    started = time.monotonic()
    order = ValidationRequest.model_validate_json((staging / REQUEST_FILE).read_bytes())
    folder, raw = staging / DATASET, staging / RAW
    folder.mkdir()
    raw.mkdir()
    inferred = InferredFacts()
    reader = reader_for(
        order.data,
        order.file_name,
        order.kind,
        order.columns,
        raw,
        order.limits,
        task=order.task,
        infer=inferred.infer,
        left_out=order.left_out,
    )
    shape = reader.schema()
    findings = Findings(shape.kind, shape.target, order.limits, inferred)
    write_examples(reader, findings, folder, raw, order.id)
    report = findings.report(time.monotonic() - started, reader.input_count())
    shape = reader.schema()  # now with all categories
    info = DatasetInfo(
        id=order.id,
        display_name=order.display_name,
        kind=shape.kind,
        sha256=order.sha256,
        size_bytes=order.size_bytes,
        columns=shape.columns,
        labels=findings.labels(),
        multi_label=shape.target is TargetKind.CLASSES,
        inputs=shape.inputs,
        channels=shape.channels,
        report=report,
        created=datetime.now(UTC),
        uri=order.uri,
        owner=order.owner,
    )
    with (folder / INFO_FILE).open("w", encoding="utf-8") as file:
        file.write(strict_json.text(info, ascii_only=False))
        file.flush()
        os.fsync(file.fileno())
    return info


def answer(staging: Path) -> dict[str, Any]:
    """The answer of this process about a staging folder. Raises errors that the data did not cause."""
    try:
        validate(staging)
    except InvalidInput as error:
        return {"error": {"field": error.field, "problem": error.problem}}
    except MemoryError:
        return {"error": {"field": "data", "problem": "needs more memory than a dataset may use; send less at once"}}
    except Exception as error:
        if _is_full(error):
            return {"full": True}
        raise
    return {"ok": True}


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is the cause of an error, however it was wrapped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _bound(limits: DatasetLimits) -> None:
    os.nice(NICENESS)
    if sys.platform == "linux":
        import resource

        # The limit is on private memory, not on the address space, because Arrow maps whole files, which costs none. Libraries
        # are imported first and do not count, so that only the data can exceed the limit.
        import pyarrow  # noqa: F401

        import service.datasets.readers.detect  # noqa: F401

        if limits.memory_mib:
            most = _private_bytes() + limits.memory_mib * MIB
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        if limits.cpu_seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))


def _private_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmData:"))
    return int(line.split()[1]) * 1024


def _end_with_the_server() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


class _WithoutPandas(MetaPathFinder):
    """Hides pandas: where it is installed, pyarrow imports it for its first array, which takes a third of a second and is of no
    use."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def main() -> None:
    """Validate the folder that the command line names."""
    sys.meta_path.insert(0, _WithoutPandas())
    answers = os.dup(1)
    os.dup2(2, 1)  # output of libraries goes to the log, and is lost if the disk is full
    protect()
    staging = Path(sys.argv[1])
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    try:
        _bound(ValidationRequest.model_validate_json((staging / REQUEST_FILE).read_bytes()).limits)
        reply = answer(staging)
    except BaseException:
        traceback.print_exc()  # into the log
        sys.stderr.flush()
        os._exit(EXIT_FAILED)  # a normal exit would wait for the reading thread, and fail
    with os.fdopen(answers, "w", encoding="ascii") as line:
        line.write(strict_json.text(reply) + "\n")
    os._exit(0)  # libraries take long to shut down


if __name__ == "__main__":
    main()
