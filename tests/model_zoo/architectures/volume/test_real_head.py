"""The brain of a real head, by the published weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from tests.support.end_to_end.components import find_folder
from tests.support.model_zoo.real_models import Real

TEMPLATES = Path("/usr/share/mricron/templates")


@pytest.mark.weights
def test_brain_of_a_real_head_is_that_of_its_published_mask(real: Callable[[str], Real]) -> None:
    templates = find_folder(TEMPLATES, "mricron-data")
    network = real("deepbet").network
    head, published = (loaded(templates / name) for name in ("ch2.nii.gz", "ch2bet.nii.gz"))
    with torch.inference_mode():
        outputs = network(volume=torch.from_numpy(head)[None, None])
    found, brain = outputs["probabilities"][0].numpy() > 0.5, published > 0
    dice = 2 * np.count_nonzero(found & brain) / (np.count_nonzero(found) + np.count_nonzero(brain))
    assert dice > 0.93  # 0.936: the published mask leaves out the fluid around the brain
    assert outputs["box"].tolist() == [[5, 176, 4, 216, 0, 172]]


def loaded(path: Path) -> np.ndarray:
    """Voxels with axes to the right, to the front and upwards, as in these files."""
    image: Any = nibabel.load(path)  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(image.get_fdata(dtype=np.float32))
