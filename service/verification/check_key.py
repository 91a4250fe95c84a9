"""Under which key the figures of a check are noted."""

from __future__ import annotations

from service.runtime.environment import environment_fingerprint
from service.runtime.network import Runtime
from service.verification.judgement import BOUNDS


def tier_and_precision(runtime: Runtime) -> str:
    """Tier and precision of a runtime, as people read it: `compiled bf16`."""
    return f"{runtime.tier} {runtime.precision}".strip()


def check_key(runtime: Runtime) -> str:
    """What figures hold for: how a network runs, in which numbers, where, and by which bounds they were judged."""
    return f"{tier_and_precision(runtime)} on {runtime.device} of {environment_fingerprint()}, bounds {BOUNDS}"
