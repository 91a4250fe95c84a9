"""Sentences on the runtime of a fine-tuned version, and on how its decisions differ from fp32 there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.cli.rendering.formatting import format_value

if TYPE_CHECKING:
    from service.client import Decisions, ModelInfo, ModelVersion


def decision_summary(found: Decisions) -> str:
    """How decisions at one tier and precision compare with fp32, in one line."""
    metric = (
        f"{found.metric} {format_value(found.value)} (fp32: {format_value(found.reference)}, change {found.change_low:+.2g} to"
        f" {found.change_high:+.2g})"
    )
    if found.flips is None:
        summary = f"{metric} on {found.examples} held-out examples"
    else:
        share = f"{found.flips_low:.1%} to {found.flips_high:.1%}"
        summary = f"{found.flips} of {found.examples} held-out decisions differ from fp32 ({share}), {metric}"
    verdict = f"does not hold: {found.problem}" if found.problem else "holds"
    return f"{found.runs}: {summary}; it {verdict}"


def runtime_lines(version: ModelVersion) -> list[str]:
    """The runtime of a version and the reason for it; empty if the version is not loaded."""
    if version.state != "READY" or not version.runs:
        return []
    where = f" of {version.carried_by}" if version.carried_by else ""
    lines = [f"it runs on {version.runs}{where}" + (f", because {version.note}" if version.note else "")]
    return lines + [decision_summary(found) for found in version.decisions if found.runs == version.runs]


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """How a version decides at each tier and precision that servers measured, from its report."""
    return [f"on {found['runs']}: {found['sentence']}" for found in report.get("serving") or ()]


def runtime_facts(model: ModelInfo) -> dict[str, str]:
    """Rows of `zoo show` by heading; empty for a model that is not fine-tuned."""
    return {
        "carried by": model.carried_by if model.carried_by != model.base else "",
        "why": model.note,
        **{f"decides ({found.runs})": decision_summary(found) for found in model.decisions},
    }
