"""A job's folder, as its supervisor sees it; `training/job_spec.py` says what is in it."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from model_zoo import strict_json
from service.training.job_spec import WorkOrder

JOBS = "jobs"
LONGEST_STEP = 19
"""Digits of a step; whatever has more is none."""
ORDER, RESULT, CHECKPOINTS = "spec.json", "result", "checkpoints"
WEIGHTS, STATE = "model.safetensors", "state.json"
"""Of a checkpoint; `training/loop/checkpoint.py` writes them."""
KEPT = ("log.txt", "tensorboard", ORDER)
"""Of a job that has ended well, or was not wanted any more."""


def job_folder(home: Path, job_id: str) -> Path:
    """Where a job lies."""
    return home / JOBS / job_id


def write_order(folder: Path, order: WorkOrder) -> None:
    """Puts the order there, complete by rename. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{ORDER}"
    draft.write_text(strict_json.text(order, indent=1, ascii_only=False), encoding="utf-8")
    draft.replace(folder / ORDER)


def steps(folder: Path) -> tuple[int, ...]:
    """Of the checkpoints that are there, rising."""
    try:
        names = [path.name for path in (folder / CHECKPOINTS).iterdir()]
    except OSError:
        return ()
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < LONGEST_STEP))


def checkpoint_faults(folder: Path) -> dict[int, str]:
    """Of the checkpoints that are there, by step: what cannot be read of each, in one clause; empty where all can."""
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
    """Leaves the log and what was drawn of it."""
    with contextlib.suppress(
        FileNotFoundError, NotADirectoryError
    ):  # the job was deleted meanwhile, and all of it with it
        for path in folder.iterdir():
            if path.name in KEPT:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
