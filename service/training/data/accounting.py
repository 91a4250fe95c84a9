"""What became of the examples that a job got: each is learned from, chosen by, held out, or left out with a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from service.datasets.dataset import Splits
from service.datasets.formatting import counted
from service.errors import InvalidInput, ZooError
from service.training.protocol import Log
from service.training.training_job import Job, Say

MOST_SHOWN = 5
"""Examples that are named."""
NOT_USED = "not needed"
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d[\d.,]*\b")
"""Reasons that differ in names and figures alone are one reason."""


@dataclass(frozen=True, slots=True)
class Accounting:
    """`given` = `train` + `validation` + `test` + `left_out`; an example that stands in for another split counts once."""

    given: int
    train: int
    validation: int
    test: int
    left_out: int
    reasons: Mapping[str, int]
    """Together `left_out`."""
    first: tuple[tuple[str, str], ...]
    """(where it came from, reason) of the first that were left out."""


def account(job: Job, splits: Splits) -> Accounting:
    """Of a job and the splits that it really used."""
    counts, met = {}, set[int]()
    for name in ("train", "validation", "test"):
        fresh = set(splits.get(name, ())) - met
        counts[name] = len(fresh)
        met |= fresh
    left = [index for index in range(len(job.examples)) if index not in met]
    reasons = Counter(_QUOTED.sub("…", job.left_out.get(index, NOT_USED)) for index in left)
    first = tuple((job.examples[index].origin, job.left_out.get(index, NOT_USED)) for index in left[:MOST_SHOWN])
    return Accounting(
        len(job.examples),
        counts["train"],
        counts["validation"],
        counts["test"],
        len(left),
        dict(reasons.most_common()),
        first,
    )


def reason_of(error: ZooError) -> str:
    """Why an example cannot be used, without where it came from."""
    return error.problem if isinstance(error, InvalidInput) else error.message


def tell_left_out(job: Job, say: Say) -> None:
    """Names the first that are left out, and counts all of them by reason."""
    if not job.left_out:
        return
    for index, reason in sorted(job.left_out.items())[:MOST_SHOWN]:
        say(Log(level="warning", text=f"left out {job.examples[index].origin}: {reason}"))
    reasons = Counter(_QUOTED.sub("…", reason) for reason in job.left_out.values())
    why = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(MOST_SHOWN))
    of = counted(len(job.examples), "example")
    say(Log(level="warning", text=f"left out {len(job.left_out)} of {of}: {why}"))
