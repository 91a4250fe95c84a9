"""Language models on plain text."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.datasets.dataset import DatasetKind
from service.training.job_spec import Method
from service.training.methods.language_model import train_language_model
from service.training.protocol import Finished
from tests.support.training.data_sets import (
    add_dataset,
    fortunes,
)
from tests.support.training.method_runs import method_order, publish, report, run_method

pytestmark = [pytest.mark.weights, pytest.mark.component]


def test_language_model_improves_on_untuned_base(home: Path, tmp_path: Path) -> None:
    text = "\n".join(text for text, _ in fortunes(("startrek",)))[:24_000]
    dataset = add_dataset(home, text.encode(), "startrek.txt", DatasetKind.PLAIN_TEXT)
    given = method_order(home, "char_lstm", dataset, "text-generation", Method.FULL, epochs=1, batch_size=16)
    assert isinstance(run_method(train_language_model, given, tmp_path / "1")[-1], Finished)
    found = report(tmp_path / "1")
    primary = found["primary"]
    assert found["metrics"][primary]["value"] < found["baseline"][primary]  # a lower entropy than the untuned base
    incumbent = publish(home, tmp_path / "1").files.folder
    same = method_order(home, "char_lstm", dataset, "text-generation", Method.FULL, incumbent, epochs=1, batch_size=16)
    run_method(train_language_model, same, tmp_path / "2")
    again = report(tmp_path / "2")
    assert again["rival"]["metrics"][primary] == pytest.approx(again["metrics"][primary]["value"], rel=1e-5)
