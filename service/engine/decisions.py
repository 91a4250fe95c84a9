"""Measurements of a fine-tuned version's decisions on one tier and precision, against fp32."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from service.rounding import format_apart


class Decisions(BaseModel):
    """Measurements of one version on one tier and precision, against fp32."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    runs: str
    """Tier and precision that were measured: `compiled bf16`."""
    examples: int
    """Held-out examples of the version's own data."""
    flips: int | None = None
    """Decisions that differ from fp32; None where the answer is a number."""
    flips_low: float = 0.0
    flips_high: float = 0.0
    """The interval of the share of flips, 0..1."""
    metric: str
    """The version's primary metric."""
    reference: float
    """In fp32."""
    value: float
    """On the tier that was measured."""
    change: float
    """`value` minus `reference`."""
    change_low: float
    change_high: float
    problem: str = ""
    """The bound that is missed, with the figures; empty where the version holds."""

    @property
    def holds(self) -> bool:
        """Whether the version may run on this tier and precision."""
        return not self.problem

    def sentence(self) -> str:
        """The figures in one sentence."""
        change = f"change {self.change_low:+.2g} to {self.change_high:+.2g}"
        value, reference = format_apart(self.value, self.reference)
        metric = f"{self.metric} {value} (fp32: {reference}, {change})"
        if self.flips is None:
            return f"{metric} on {self.examples} held-out examples"
        share = f"{self.flips_low:.1%} to {self.flips_high:.1%}"
        return f"{self.flips} of {self.examples} held-out decisions differ from fp32 ({share}); {metric}"
