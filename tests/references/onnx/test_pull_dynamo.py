"""Files of torch's newer exporter are pulled, batch their rows, and give the answers of their networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from service.runtime.onnx_session import OnnxRuntime
from service.tasks.table import task_for
from service.types import Item, TensorInstance
from tests.support.references.dynamo.networks import FILES, MAKERS, network, rows
from tests.support.references.onnx_models import pulled_here


@pytest.mark.parametrize("name", MAKERS)
def test_file_of_the_newer_exporter_is_served_as_its_network(name: str, tmp_path: Path) -> None:
    settings = {"max_length": "16"} if name == "tokens" else {}
    pulled = pulled_here(FILES / f"{name}.onnx", tmp_path / "home", **settings)
    card = pulled.card
    assert (card.batching.max_batch_size, card.batching.single_rows_because) == (32, "")
    assert card.verification is not None
    task, runtime = task_for(card, pulled.files), OnnxRuntime(pulled.files.weights, "cpu", 1)
    given = rows(name, 5)
    instances = [TensorInstance({key: tensor[i].numpy() for key, tensor in given.items()}) for i in range(5)]
    if name == "tokens":  # of different length
        shorter = {key: array[:3] for key, array in instances[0].tensors.items()}
        instances[0] = TensorInstance(shorter)
    items = [item for item in task.preprocess(instances, ["input"] * 5) if isinstance(item, Item)]
    found = task.split(runtime.run(task.collate(items)[0]), items)
    with torch.inference_mode():
        for row, instance in zip(found, instances, strict=True):
            alone = {key: torch.from_numpy(array[None]) for key, array in instance.tensors.items()}
            np.testing.assert_allclose(row["logits"], network(name)(*alone.values())[0], atol=1e-5)
