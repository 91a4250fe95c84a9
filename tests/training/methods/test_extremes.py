"""Numbers at the edges of what may enter: training ends with a result whose every figure is finite, or in a sentence."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from model_zoo import strict_json
from service.datasets.readers.columns.cells import LARGEST_NUMBER
from service.training.failures import CannotTrain
from service.training.protocol import Finished
from tests.training.methods.test_tabular import table, tune

SCALES = [LARGEST_NUMBER, 1e100, 1e38, 1e30, 1e19, 1e-30, 1e-150, 1e-300, 5e-324]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("what", ["inputs", "targets"])
def test_a_table_of_extreme_numbers_gives_finite_figures_or_a_sentence(tmp_path: Path, scale: float, what: str) -> None:
    drawn = np.random.default_rng(0)
    x, noise = drawn.uniform(-1, 1, (80, 3)), drawn.normal(0, 0.05, 80)
    y = np.clip(x @ [0.3, -0.3, 0.2] + noise, -1, 1)
    x, y = (x * scale, y) if what == "inputs" else (x, y * scale)
    dataset = table(tmp_path, x, y.tolist(), np.arange(20))
    if what == "targets" and scale <= 1e-300:
        with pytest.raises(CannotTrain, match="there is nothing to learn"):
            tune(tmp_path, dataset, tmp_path / "job", epochs=3)
        return
    said = tune(tmp_path, dataset, tmp_path / "job", epochs=3)
    assert isinstance(said[-1], Finished)
    assert all(map(math.isfinite, said[-1].metrics.values()))
    for name in ("card.json", "report.json", "lineage.json", "curves.json"):
        strict_json.read((tmp_path / "job" / "result" / name).read_bytes())
    render_page = (tmp_path / "job" / "result" / "report.html").read_text()
    assert "nan" not in render_page.lower().replace("finance", "")
    assert "inf</" not in render_page
