"""The accounting of a job's examples: each is in the training, validation or test data, or is left out with a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from service.datasets.dataset import Splits
from service.datasets.formatting import counted
from service.errors import InvalidInput, ZooError
from service.training.protocol import Log, SendMessage
from service.training.training_job import TrainingJob

MAX_SHOWN = 5
"""Examples that are named, and reasons that are listed."""
NOT_USED = "not needed"
_SPECIFIC = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d[\d.,]*\b")
"""Quoted names and numbers: reasons that differ in these alone are counted as one reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """`given` = `train` + `validation` + `test` + `left_out`. An example that is in two splits counts once.

    The field names are keys of `report.json`.
    """

    given: int
    train: int
    validation: int
    test: int
    left_out: int
    reasons: Mapping[str, int]
    """Examples by reason, `left_out` in all."""
    first: tuple[tuple[str, str], ...]
    """(origin, reason) of the first examples that are left out."""
    truncated: int = 0
    """Used examples that are longer than the network reads."""


def account_for_examples(job: TrainingJob, splits: Splits) -> Accounting:
    """The accounting of a job. `splits` are those that it really used."""
    counts, seen = {}, set[int]()
    for name in ("train", "validation", "test"):
        fresh = set(splits.get(name, ())) - seen
        counts[name] = len(fresh)
        seen |= fresh
    left_out = [index for index in range(len(job.examples)) if index not in seen]
    reasons = Counter(_general(job.left_out.get(index, NOT_USED)) for index in left_out)
    return Accounting(
        given=len(job.examples),
        train=counts["train"],
        validation=counts["validation"],
        test=counts["test"],
        left_out=len(left_out),
        reasons=dict(reasons.most_common()),
        first=tuple((job.examples[i].origin, job.left_out.get(i, NOT_USED)) for i in left_out[:MAX_SHOWN]),
        truncated=len(job.truncated & seen),
    )


def reason_of(error: ZooError) -> str:
    """The reason why an example cannot be used, without its origin."""
    return error.problem if isinstance(error, InvalidInput) else error.message


def send_left_out(job: TrainingJob, send: SendMessage) -> None:
    """Sends warnings that name the first examples that are left out, and count all of them by reason."""
    if not job.left_out:
        return
    for index, reason in sorted(job.left_out.items())[:MAX_SHOWN]:
        send(Log(level="warning", text=f"left out {job.examples[index].origin}: {reason}"))
    reasons = Counter(_general(reason) for reason in job.left_out.values())
    why = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(MAX_SHOWN))
    of = counted(len(job.examples), "example")
    send(Log(level="warning", text=f"left out {len(job.left_out)} of {of}: {why}"))


def send_truncated(job: TrainingJob, send: SendMessage) -> None:
    """Sends a warning that counts the examples that are longer than the network reads, and names the first ones."""
    if not job.truncated:
        return
    named = ", ".join(job.examples[index].origin for index in sorted(job.truncated)[:MAX_SHOWN])
    more = ", …" if len(job.truncated) > MAX_SHOWN else ""
    of = counted(len(job.examples), "example")
    text = f"{job.base.name!r} reads a part only of {len(job.truncated)} of {of}, which are longer than its input"
    send(Log(level="warning", text=f"{text}: {named}{more}"))


def _general(reason: str) -> str:
    return _SPECIFIC.sub("…", reason)
