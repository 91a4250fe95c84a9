"""The folder of a job as the server reads and writes it; `training/job_spec.py` lists its files."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from model_zoo import strict_json
from service.training.job_spec import WorkOrder

JOBS = "jobs"
MAX_STEP_DIGITS = 19
"""A folder whose name has as many digits is no step."""
ORDER, RESULT, CHECKPOINTS = "spec.json", "result", "checkpoints"
WEIGHTS, STATE = "model.safetensors", "state.json"
"""Files of a checkpoint, which `training/loop/checkpoint.py` writes."""
RETAINED = ("log.txt", "tensorboard", ORDER)
"""Files that a job keeps after it has SUCCEEDED or was CANCELLED."""


def job_folder(home: Path, job_id: str) -> Path:
    """The path of a job's folder."""
    return home / JOBS / job_id


def write_order(folder: Path, order: WorkOrder) -> None:
    """Writes the order, complete by rename. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{ORDER}"
    partial.write_text(strict_json.text(order, indent=1, ascii_only=False), encoding="utf-8")
    partial.replace(folder / ORDER)


def steps(folder: Path) -> tuple[int, ...]:
    """The steps of the checkpoints on disk, in ascending order."""
    try:
        names = [path.name for path in (folder / CHECKPOINTS).iterdir()]
    except OSError:
        return ()
    return tuple(
        sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < MAX_STEP_DIGITS)
    )


def checkpoint_faults(folder: Path) -> dict[int, str]:
    """The damage of each checkpoint on disk by its step, in one clause; empty for a sound one."""
    return {step: _checkpoint_fault(folder / CHECKPOINTS / str(step)) for step in steps(folder)}


def _checkpoint_fault(checkpoint: Path) -> str:
    if not checkpoint.is_dir():
        return "something else is in the place of its folder"
    for name, what in ((WEIGHTS, "weights"), (STATE, "state")):
        try:
            with (checkpoint / name).open("rb") as file:
                if not file.read(1):
                    return f"its {what} are empty" if what == "weights" else f"its {what} is empty"
        except OSError:
            return f"its {what} cannot be read"
    return ""


def clean(folder: Path) -> None:
    """Removes all of a job's folder but the order, the log and the curves."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # the job and its folder were deleted meanwhile
        for path in folder.iterdir():
            if path.name in RETAINED:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
