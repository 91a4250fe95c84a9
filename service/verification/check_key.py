"""The key under which the figures of a check are stored."""

from __future__ import annotations

from service.runtime.environment import compiler_version, environment_fingerprint
from service.runtime.network import Runtime
from service.verification.judgement import BOUNDS


def tier_and_precision(runtime: Runtime) -> str:
    """Tier and precision of a runtime, for people: `compiled bf16`."""
    return f"{runtime.tier} {runtime.precision}".strip()


def check_key(runtime: Runtime) -> str:
    """The conditions of the figures: tier, precision, device, environment, and the bounds by which they were judged."""
    version = compiler_version(runtime.compiler)
    compiler = (
        f" by {runtime.compiler} {version}" if version else ""
    )  # of other compilers the environment has the version
    return (
        f"{tier_and_precision(runtime)}{compiler} on {runtime.device} of {environment_fingerprint()}, bounds {BOUNDS}"
    )
