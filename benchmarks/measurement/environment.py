"""The machine of a run, for the record."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from service.settings import usable_cores


def machine() -> dict[str, Any]:
    """Processor, cores, versions, date and load of the machine."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "taken": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
    }
