"""NVIDIA's perf_analyzer as a second client: a closed loop of its own threads and its own gRPC stack.

It comes with PyPI's `tritonclient` 2.41, in an environment of its own; later programs need a newer C library than Debian 12 has.
It was built against two libraries that Triton's package has under other names; links with the right names lead to them.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.participants.process import ParticipantFailed
from benchmarks.paths import LOGS, ROOT
from service.pb import open_inference_pb2 as pb

PROGRAM = ROOT / ".venv-perf" / "bin" / "perf_analyzer"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
"""Names that the program looks for, and patterns of the files in Triton's package."""
WINDOWS, STABILITY_PERCENT = 3, 999
"""It measures three windows and reports their mean, whatever their spread: the sentinel judges whether the machine was steady."""


def closed(
    target: str, model: str, messages: Sequence[bytes], callers: int, seconds: float, log: Path
) -> dict[str, Any]:
    """`callers` that wait for their answers: calls a second and latencies in milliseconds, in the form of `client.closed`.

    The messages are serialised ModelInferRequests of one row. Raises ParticipantFailed if the program is missing or fails.
    """
    if not PROGRAM.exists():
        raise ParticipantFailed(
            f"perf_analyzer is not installed in {PROGRAM.parent.parent.name}; run: make bench-setup"
        )
    with tempfile.TemporaryDirectory(prefix="zoo-bench-perf-") as name:
        folder = Path(name)
        _link_libraries(folder)
        (folder / "data.json").write_text(input_data(messages))
        options = {
            "-m": model,
            "-u": target,
            "-i": "grpc",
            "--input-data": str(folder / "data.json"),
            "--concurrency-range": f"{callers}:{callers}",
            "--measurement-interval": str(round(1000 * seconds / WINDOWS)),
            "--stability-percentage": str(STABILITY_PERCENT),
            "--max-trials": str(WINDOWS),
            "--percentile": "99",
            "-f": str(folder / "report.csv"),
        }
        shapes = [part for shape in _shapes(messages[0]) for part in ("--shape", shape)]
        command = [str(PROGRAM), *(part for pair in options.items() for part in pair), *shapes, "--async"]
        before, began = _child_seconds(), time.monotonic()
        LOGS.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            code = subprocess.run(
                command,
                env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
                stdout=output,
                stderr=output,
                timeout=60 + 10 * seconds,
                check=False,
            ).returncode
        if code or not (folder / "report.csv").exists():
            raise ParticipantFailed(f"perf_analyzer failed:\n{log.read_text(errors='replace')[-2000:]}")
        figures = figures_of((folder / "report.csv").read_text())
    return {**figures, "client_cores": (_child_seconds() - before) / (time.monotonic() - began)}


def input_data(messages: Sequence[bytes]) -> str:
    """The messages as the program's JSON of inputs."""
    rows = []
    for message in messages:
        request = pb.ModelInferRequest.FromString(message)
        pairs = zip(request.inputs, request.raw_input_contents, strict=True)
        rows.append(
            {
                t.name: {"content": {"b64": base64.b64encode(raw).decode()}, "shape": list(t.shape[1:])}
                for t, raw in pairs
            }
        )
    return json.dumps({"data": rows})


def figures_of(report: str) -> dict[str, Any]:
    """The last line of its CSV: rates are calls a second, latencies microseconds."""
    row = list(csv.DictReader(report.splitlines()))[-1]
    return {
        "calls_s": float(row["Inferences/Second"]),
        "p50_ms": float(row["p50 latency"]) / 1000.0,
        "p99_ms": float(row["p99 latency"]) / 1000.0,
        "errors": {},
    }


def _shapes(message: bytes) -> list[str]:
    """`name:1,2` for every input."""
    request = pb.ModelInferRequest.FromString(message)
    return [f"{tensor.name}:{','.join(map(str, tensor.shape[1:]))}" for tensor in request.inputs]


def _link_libraries(folder: Path) -> None:
    from benchmarks.participants.triton import PACKAGE

    libraries = PACKAGE.parent / "nvidia_pytriton.libs"
    for name, pattern in LIBRARIES.items():
        for found in sorted(libraries.glob(pattern))[:1]:
            (folder / name).symlink_to(found)


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
