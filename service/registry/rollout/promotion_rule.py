"""The rule of promotion: whether a new version is good enough to be stable, by its report. Pure.

Its primary metric on held-out data must be better than the baseline's, and not worse than that of the present stable version,
measured on the same data. A difference below the tolerance counts as none; equal figures are not better. Where no version is
stable yet, a version that equals a baseline without any error is good enough: no version could be better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.rounding import (
    format_apart,
    is_better,
    is_equal,
)
from service.verification.judgement import (
    ERROR_TOLERANCE,
)

SCORE_TOLERANCE = 0.005
"""Tolerance for a metric where more is better (a share of 0..1): half a percentage point."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of the gate."""

    promote: bool
    sentence: str
    """For a person, with the figures."""


def decide(report: Mapping[str, Any], stable: int | None) -> Decision:
    """Whether the version of this `report.json` may become stable in place of version `stable`; None where none is."""
    primary, higher = report.get("primary"), bool(report.get("higher_is_better", True))
    if not isinstance(primary, str):
        return Decision(False, "its report names no primary metric")
    mine = _value(report.get("metrics"), primary)
    baseline = _value(report.get("baseline"), primary)
    if mine is None:
        return Decision(False, f"its report has no {primary}")
    if baseline is None:
        return Decision(False, f"its report has no baseline for {primary}")
    incumbent = report.get("rival")  # the name of the field on disk
    theirs = _value(incumbent.get("metrics"), primary) if isinstance(incumbent, Mapping) else None
    ours, beside, other = format_apart(mine, baseline, mine if theirs is None else theirs)
    shown, kind = f"{primary} {ours}", _kind(report.get("baseline"))
    if stable is None and is_equal(mine, baseline) and is_equal(mine, 1.0 if higher else 0.0):
        return Decision(True, f"{shown} equals the baseline's {beside}{kind}, and no version could be better")
    if not is_better(mine, baseline, higher=higher):
        return Decision(False, f"{shown} is not better than the baseline's {beside}{kind}")
    said = f"{shown} is better than the baseline's {beside}{kind}"
    if stable is None:
        return Decision(True, said)
    if not isinstance(incumbent, Mapping) or str(incumbent.get("version")) != str(stable):
        reason = report.get("not_compared")
        why = f" ({reason})" if isinstance(reason, str) and reason else ""
        return Decision(
            False,
            f"{said}, but it was not compared with version {stable}, which is stable now{why}; promote it by hand",
        )
    if theirs is None:
        # The stable version could not be measured on this data, as when the classes are others.
        return Decision(False, f"{said}, but version {stable}, which is stable now, has no {primary} on the same data")
    allowed = SCORE_TOLERANCE if higher else ERROR_TOLERANCE * abs(theirs)
    if (theirs - mine if higher else mine - theirs) > allowed:
        return Decision(False, f"{shown} is worse than the {other} of version {stable}, which stays stable")
    return Decision(True, f"{said} and not worse than the {other} of version {stable}, which was stable")


def _value(metrics: object, name: str) -> float | None:
    """A metric, given as a number or as {value, low, high}; None where it is missing or not finite."""
    found = metrics.get(name) if isinstance(metrics, Mapping) else None
    if isinstance(found, Mapping):
        found = found.get("value")
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def _kind(baseline: object) -> str:
    kind = baseline.get("kind") if isinstance(baseline, Mapping) else None
    return f" ({kind})" if isinstance(kind, str) and kind else ""
