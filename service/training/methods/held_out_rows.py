"""Held-out rows of tables, alone or beside photos, in the form that shuffles their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RecordRecipe, RowRecipe
from model_zoo.cards.tuned_parts import TargetScale
from service.tasks.tabular.row_input import COLUMNS
from service.training.data.prepared import PreparedExamples
from service.training.evaluation.column_importance import (
    Arrays,
    ColumnPlace,
    HeldOutRows,
    table_places,
    vector_places,
)
from service.training.loop.criteria import in_units
from service.training.training_job import TrainingJob

BATCH_ROWS = 1024
"""Rows of a table that the network runs on at once."""
BATCH_PHOTOS = 16


def held_out_rows(
    job: TrainingJob,
    network: nn.Module,
    card: Card,
    prepared: PreparedExamples,
    indices: Sequence[int],
    scale: TargetScale | None,
) -> HeldOutRows | None:
    """The held-out rows of a network in evaluation mode, on the CPU; None if it reads no rows.

    Beside a photo only the head runs for each shuffle: the features of a photo are computed once.
    """
    if isinstance(card.recipe, RowRecipe):
        output = card.signature.outputs[0].name

        def table_inputs(chosen: Sequence[int]) -> Arrays:
            batch = prepared.collate([indices[at] for at in chosen])
            return {name: tensor.numpy() for name, tensor in batch.items()}

        def run_network(inputs: Mapping[str, Tensor]) -> Tensor:
            outputs: Tensor = network(**inputs)[output]
            return outputs

        places = _of_data_set(job, table_places(card.recipe))
        return HeldOutRows(places, table_inputs, lambda inputs: _outputs(run_network, inputs, scale))
    if isinstance(card.recipe, RecordRecipe) and isinstance(network, TunedNetwork):

        @torch.inference_mode()
        def photo_inputs(chosen: Sequence[int]) -> NDArray[np.float32]:
            batches = [chosen[at : at + BATCH_PHOTOS] for at in range(0, len(chosen), BATCH_PHOTOS)]
            parts = [network.features(**prepared.collate([indices[at] for at in batch])) for batch in batches]
            return torch.cat(parts).numpy()

        return rows_of_head(job, network.head, card.recipe, photo_inputs, scale)
    return None


def rows_of_head(
    job: TrainingJob,
    head: Head,
    recipe: RecordRecipe,
    inputs: Callable[[Sequence[int]], NDArray[np.float32]],
    scale: TargetScale | None,
) -> HeldOutRows:
    """The rows beside photos, as a head reads them. `inputs`: of the head, the features and the row's columns (n, D), for
    positions among the held-out examples."""

    def run_head(given: Mapping[str, Tensor]) -> Tensor:
        outputs: Tensor = head(given[COLUMNS])
        return outputs

    places = _of_data_set(job, vector_places(recipe.row, head.spec.inputs - head.spec.columns))
    return HeldOutRows(places, lambda chosen: {COLUMNS: inputs(chosen)}, lambda given: _outputs(run_head, given, scale))


def _of_data_set(job: TrainingJob, places: Sequence[ColumnPlace]) -> tuple[ColumnPlace, ...]:
    """Without columns that the base has learned and these data do not have: their cells are all empty."""
    given = {column.name for column in job.info.inputs}
    return tuple(place for place in places if place.column in given)


@torch.inference_mode()
def _outputs(
    run: Callable[[Mapping[str, Tensor]], Tensor], inputs: Arrays, scale: TargetScale | None
) -> NDArray[np.floating]:
    """The outputs for inputs (n, …), in the units of the data if the target is a number."""
    tensors = {name: torch.split(torch.from_numpy(array), BATCH_ROWS) for name, array in inputs.items()}
    parts = [run(dict(zip(tensors, batch, strict=True))) for batch in zip(*tensors.values(), strict=True)]
    outputs: NDArray[np.float32] = torch.cat(parts).numpy()
    return outputs if scale is None else in_units(outputs, scale)
