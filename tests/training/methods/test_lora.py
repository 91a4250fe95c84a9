"""Method `lora` on a Transformer."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from service.training.job_spec import Method
from service.training.methods.full import train_network
from service.training.protocol import Finished
from tests.support.training.data_sets import (
    add_dataset,
    fortunes,
    texts_csv,
)
from tests.support.training.method_runs import method_order, publish, report, run_method

pytestmark = [pytest.mark.weights, pytest.mark.component]


def test_lora_version_holds_updates_and_head_alone(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, texts_csv(fortunes(("computers", "love"), 20)), "texts.csv")
    given = method_order(
        home, "all_minilm_l6_v2", dataset, "text-classification", Method.LORA, epochs=2, batch_size=8, rank=4
    )
    assert isinstance(run_method(train_network, given, tmp_path / "job")[-1], Finished)
    state = load_file(tmp_path / "job" / "result" / "model.safetensors")
    assert all(name.startswith("head.") or ".lora_" in name for name in state)
    learned = [tensor for name, tensor in state.items() if "lora_B" in name]
    assert learned
    assert all(tensor.abs().max() > 0 for tensor in learned)  # untrained, they are zero
    version = publish(home, tmp_path / "job")
    assert version.files.weights.stat().st_size < 3_000_000
    assert report(tmp_path / "job")["metrics"]["accuracy"]["value"] >= 0.5
