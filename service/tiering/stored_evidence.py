"""Measurements of a compiled network, stored beside it, so that the next start swaps it in at once, or leaves it out.

The evidence holds under the conditions under which it was measured: the files of the network, its card with the bounds, the
versions of the libraries, the processor, the number of lanes, and the runtime with which it was compared. Under any other
conditions the network is checked and timed again. A file that others could have written, or that is damaged, is ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from model_zoo import strict_json
from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.runtime.environment import compiler_version, environment_fingerprint
from service.tiering.interfaces import Prepared
from service.tiering.runtime_benchmark import Timings
from service.verification.judgement import BOUNDS

FORMAT = 1
"""Raise it when the checks, the timings or their bounds change."""
_REPORT = TypeAdapter(TierReport)
_TIMINGS = TypeAdapter(tuple[tuple[int, int, float], ...])


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcome of a check and of timings."""

    report: TierReport
    """With a reason where the network was refused."""
    timings: Timings
    from_rows: int = 0
    """The network serves beside the one in service: from this number of rows on one of them runs, below it the other."""
    for_many: bool = True
    """Whether it is the one that runs many rows."""


def conditions(served: ServedModel, candidate: str, lanes: int) -> str:
    """64 hex digits; equal where a measurement of a candidate would come out the same."""
    report = served.tier_report
    against = [
        served.runtime.tier,
        served.runtime.compiler,
        served.runtime.precision,
        report.compiler if report else "",
    ]
    facts: list[Any] = [FORMAT, BOUNDS, candidate, against, lanes, served.limits.max_batch_size]
    facts += [environment_fingerprint(), compiler_version("openvino"), served.card.model_dump(mode="json")]
    return hashlib.sha256(strict_json.text(facts, sort_keys=True).encode()).hexdigest()


def stored(prepared: Prepared, under: str) -> Measured | None:
    """The evidence of a network under these conditions; None where it must be measured."""
    body = prepared.evidence()
    found = body.get(under) if body is not None else None
    if not isinstance(found, Mapping):
        return None
    try:
        report = _REPORT.validate_python(found["report"])
        timings = _TIMINGS.validate_python(found["timings"])
        from_rows, for_many = int(found["from_rows"]), bool(found["for_many"])
    except (ValidationError, KeyError, ValueError, TypeError):
        return None
    return Measured(replace(report, compile_s=prepared.compile_s, cached=prepared.cached), timings, from_rows, for_many)


def store(prepared: Prepared, under: str, evidence: Measured) -> None:
    """Stores evidence beside what was measured under other conditions. Figures that are not finite are not stored."""
    try:
        document = {**asdict(evidence), "timings": [[*timing] for timing in evidence.timings]}
        strict_json.text(document)
    except ValueError:
        return
    kept = list((prepared.evidence() or {}).items())[-MOST + 1 :]
    prepared.store_evidence({**dict(kept), under: document})


MOST = 8
"""Conditions that are kept for a network, such as with other limits."""
