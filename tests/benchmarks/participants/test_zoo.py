"""A server is measured once it has tried every candidate tier."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.participants.zoo import PENDING, new_home, settled

FASTER, STAYS = "a faster network serves", "the network stays as it is"


def event(name: str, candidate: str, model: str = "cnn") -> dict[str, Any]:
    return {"event": name, "candidate": candidate, "model": model}


def test_server_that_waits_for_the_compiler_is_not_settled() -> None:
    for reason in (PENDING[0], f"openvino bf16 {PENDING[1]}"):
        assert not settled("cnn", {"tier": "eager", "tier_reason": reason}, [])


def test_model_without_candidates_is_settled_at_once() -> None:
    assert settled("cnn", {"tier": "eager", "tier_reason": "optimize is off"}, [])


@pytest.mark.parametrize("outcome", [FASTER, STAYS])
def test_model_is_settled_once_the_last_compiler_was_tried(outcome: str) -> None:
    tier = {"tier": "compiled", "tier_candidate": "openvino bf16"}
    first = [event(FASTER, "openvino bf16")]
    assert not settled("cnn", tier, first)
    assert not settled("cnn", tier, [*first, event(outcome, "aotinductor bf16", model="rnn")])
    assert settled("cnn", tier, [*first, event(outcome, "aotinductor bf16")])


def test_eager_model_is_settled_after_fp32() -> None:
    tier = {"tier": "eager", "tier_candidate": "aotinductor bf16", "tier_reason": "it is no faster"}
    tried = [event(STAYS, "openvino bf16"), event(STAYS, "openvino fp32"), event(STAYS, "aotinductor bf16")]
    assert not settled("cnn", tier, tried)
    assert settled("cnn", tier, [*tried, event(STAYS, "aotinductor fp32")])


def test_new_home_has_equal_weights_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "old"
    (source / "weights" / "abc").mkdir(parents=True)
    (source / "weights" / "abc" / "model").write_bytes(b"weights")
    (source / "compiled").mkdir()

    with new_home(source) as home:
        assert (Path(home) / "weights" / "abc" / "model").read_bytes() == b"weights"
        assert not (Path(home) / "compiled").exists()

    assert (source / "weights" / "abc" / "model").read_bytes() == b"weights"
