"""`make bench-gpu`: the GPU tests, then loads on a server with a seeded network. Writes JSON and a table in under eight minutes.

    python -m benchmarks.gpu.run [--smallest] [--device auto|cpu|cuda:N] [--limit-s S] [--out FILE]

It needs the repository and the Python that has torch; nothing is fetched. A part whose packages are missing is not run, and the
report names them. The exit code is 1 if a check failed, 3 if a part did not run, else 0. This module imports the standard library
only, so that it can report a bare machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu.requirements import PARTS, missing
from benchmarks.gpu.table import render
from benchmarks.paths import RESULTS
from benchmarks.reports.statistics import storable

LIMIT_S = 450.0
CHECK_S, LOADS_S = 30.0, 150.0
"""Time that a check, and the loads on one server, may take; without so much left they are not begun."""
FAILED, INCOMPLETE = 1, 3


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # an exit ends the child processes
    parser = argparse.ArgumentParser(description="Tests and measures Zoo on a machine with a GPU.")
    parser.add_argument(
        "--smallest", action="store_true", help="every part at its smallest, to check that the run works"
    )
    parser.add_argument("--device", default="auto", help="auto (the first GPU, else the CPU), cpu, or cuda:N")
    parser.add_argument(
        "--limit-s", type=float, default=LIMIT_S, help="parts are not begun when their time is not left"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.limit_s
    report: dict[str, Any] = {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "taken": time.strftime("%Y-%m-%d")},
        "missing": {part: packages for part in PARTS if (packages := missing(part))},
        "smallest": arguments.smallest,
        "checks": {},
        "loads": {},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        arguments.out.write_text(json.dumps(storable(report), indent=1))

    began = time.monotonic()
    if "torch" not in report["missing"].get("checks", ()):
        report["machine"] |= _device(arguments.device)
    for part, run in (("checks", _checks), ("loads", _loads)):
        if part not in report["missing"]:
            run(report, arguments.smallest, end, save)
        save()
    report["took_s"] = time.monotonic() - began
    save()
    print(render(report))
    print(f"took {report['took_s']:.0f} s; written to {arguments.out}")
    sys.exit(_code(report))


def _device(wanted: str) -> dict[str, Any]:
    torch: Any = importlib.import_module("torch")
    cuda = torch.cuda.is_available()
    device = ("cuda:0" if cuda else "cpu") if wanted == "auto" else wanted
    if device.startswith("cuda") and not cuda:
        raise SystemExit(f"--device {device}: torch {torch.__version__} sees no GPU on this machine")
    facts: dict[str, Any] = {"device": device, "torch": torch.__version__}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_mib": properties.total_memory >> 20, "cuda": torch.version.cuda}
    return facts


def _checks(report: dict[str, Any], smallest: bool, end: float, save: Callable[[], None]) -> None:
    checks: Any = importlib.import_module("benchmarks.gpu.checks")
    networks: Any = importlib.import_module("benchmarks.gpu.networks")
    cards = [networks.card_of(name) for name in ((networks.IMAGES,) if smallest else (networks.IMAGES, networks.TEXTS))]
    for name, check in checks.CHECKS.items():
        if time.monotonic() + CHECK_S > end:
            report["checks"][name] = {"skipped": "no time was left"}
            continue
        began = time.monotonic()
        try:
            outcome: dict[str, Any] = {"passed": True, "figures": check(report["machine"]["device"], cards)}
        except checks.NotHere as reason:
            outcome = {"skipped": str(reason)}
        except Exception as error:  # another library's version may fail anywhere; the other checks go on
            outcome = {"passed": False, "problem": f"{type(error).__name__}: {error}"}
        report["checks"][name] = {**outcome, "took_s": time.monotonic() - began}
        save()


def _loads(report: dict[str, Any], smallest: bool, end: float, save: Callable[[], None]) -> None:
    loads: Any = importlib.import_module("benchmarks.gpu.loads")
    plan = loads.SMALLEST if smallest else loads.FULL
    for precision in ("fp32",) if smallest else ("fp32", "bf16"):
        if not smallest and time.monotonic() + LOADS_S > end:
            report["loads"][precision] = {"skipped": "no time was left"}
            continue
        with tempfile.TemporaryDirectory(prefix="zoo-bench-gpu-") as home:
            try:
                report["loads"][precision] = loads.measure_loads(
                    report["machine"]["device"], precision, Path(home), plan
                )
            except Exception as error:  # the report says why, with the end of the server's log
                report["loads"][precision] = {"failed": f"{type(error).__name__}: {error}"}
        save()


def _code(report: dict[str, Any]) -> int:
    if any(one.get("passed") is False for one in report["checks"].values()):
        return FAILED
    if any("failed" in one for one in report["loads"].values()):
        return FAILED
    on_gpu = str(report["machine"].get("device", "")).startswith("cuda")
    skipped = any("skipped" in one for one in [*report["checks"].values(), *report["loads"].values()])
    return INCOMPLETE if report["missing"] or (skipped and on_gpu) else 0


if __name__ == "__main__":
    main()
