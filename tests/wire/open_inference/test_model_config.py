"""ModelConfig reports how a model runs: the tier, the reason, and figures only where something was measured."""

import pytest

from service.engine.tier_report import TierReport
from service.wire.open_inference.model_config import _tier_parameters

MEASURED = TierReport(
    "compiled",
    "bf16",
    candidate="compiled bf16",
    speedup=2.5,
    rows_per_s=250.0,
    rows_per_s_before=100.0,
    single_speedup=1.5,
    max_error=0.0123456,
    cosine=0.99991,
    top1_agreement=1.0,
    compile_s=41.5,
    cached=True,
    length_step=16,
)


def test_a_faster_network_shows_its_tier_parameters() -> None:
    assert _tier_parameters(MEASURED) == {
        "tier": "compiled",
        "tier_state": "final",
        "tier_length_step": "16",
        "tier_candidate": "compiled bf16",
        "tier_compile_seconds": "41.5",
        "tier_cached": "true",
        "tier_max_error": "0.0123",
        "tier_cosine": "0.999910",
        "tier_top1_agreement": "1.0000",
        "tier_speedup": "2.50",
        "tier_single_speedup": "1.50",
        "tier_rows_per_second": "250.0",
        "tier_rows_per_second_before": "100.0",
    }


@pytest.mark.parametrize(
    ("evidence", "shown"),
    [
        (None, {}),
        (
            TierReport("eager", "fp32", reason="optimize is off"),
            {"tier": "eager", "tier_state": "final", "tier_reason": "optimize is off"},
        ),
        (
            TierReport("eager", "fp32", candidate="compiled fp32", reason="there is no C++ compiler on this machine"),
            {
                "tier": "eager",
                "tier_state": "final",
                "tier_reason": "there is no C++ compiler on this machine",
                "tier_candidate": "compiled fp32",
            },
        ),
    ],
)
def test_figures_that_were_not_measured_are_left_out(evidence: TierReport | None, shown: dict[str, str]) -> None:
    assert _tier_parameters(evidence) == shown


def test_tier_is_pending_while_another_is_to_be_tried() -> None:
    report = TierReport("eager", "fp32", reason="it waits for the compiler")
    assert _tier_parameters(report, pending=True)["tier_state"] == "pending"
