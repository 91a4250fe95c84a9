"""From a trained network to a version folder: held-out metrics, the incumbent beside it, golden items, the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo.architectures.tuned import TunedNetwork
from model_zoo.cards.card import Card
from model_zoo.cards.signature import FEATURES
from model_zoo.formats.shared_tensors import without_views
from model_zoo.golden.held_out import HeldOut
from model_zoo.materialised import Materialised
from service.datasets.dataset import Splits
from service.training.artifacts.result import write_labels, write_result
from service.training.artifacts.tuned_card import FORECASTING, REDUCED_TOLERANCE, RELATIVE_TOLERANCE
from service.training.data.accounting import account_for_examples
from service.training.evaluation.column_importance import HeldOutRows, column_importances
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Evaluation, NotCompared, Predictions
from service.training.evaluation.mistakes import Mistake, worst_mistakes
from service.training.job_spec import Method
from service.training.loop.checkpoint import LoopState
from service.training.methods.lora import added_tensors
from service.training.protocol import Finished, Metric, Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob
from service.types import Tensors


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What the training loop has produced."""

    card: Card
    network: nn.Module
    """In evaluation mode, on the CPU."""
    held_out: Predictions
    train_targets: NDArray[Any]
    """In the form that `evaluate` takes."""
    golden: Sequence[Tensors]
    """Inputs of a few held-out examples."""
    state: LoopState
    splits: Splits
    incumbent: Predictions | NotCompared | None = None
    baseline_outputs: NDArray[Any] | None = None
    baseline_kind: str = ""
    """What `baseline_outputs` are, where the task alone does not say so."""
    mistakes: Sequence[Mistake] | None = None
    """For the report; None where `worst_mistakes` finds them in `held_out`."""
    reference: HeldOut | None = None
    """Held-out answers by which a server checks the version on another tier or in another precision."""
    rows: HeldOutRows | None = None
    """The held-out rows of a table, whose columns are shuffled."""


def finish(job: TrainingJob, model: TrainedModel, send: SendMessage, stop: StopSignal) -> None:
    """Evaluates the model and writes `result/`. Sends Finished, the final message."""
    evaluation = evaluate(
        job.task,
        job.labels,
        model.held_out,
        model.train_targets,
        seed=job.order.spec.seed,
        incumbent=model.incumbent,
        baseline_outputs=model.baseline_outputs,
        baseline_kind=model.baseline_kind,
        check=stop.check,
    )
    stop.check()
    if model.rows is not None:
        importances = column_importances(
            evaluation, model.held_out.targets, model.rows, seed=job.order.spec.seed, stop=stop
        )
        evaluation = replace(evaluation, column_importance=importances)
    send(Progress(phase="publishing", ratio=0.97, step=model.state.step, epoch=model.state.epoch))
    golden = [(inputs, run_single(model.network, inputs)) for inputs in model.golden]
    write_version(
        job,
        card=with_tolerance(model.card, golden),
        state=version_state(model.network, whole=job.order.spec.method is Method.FULL),
        golden=golden,
        evaluation=evaluation,
        held_out=model.held_out,
        curves=model.state.curves,
        hyperparameters=job.hparams.model_dump(),
        splits=model.splits,
        training_s=model.state.seconds,
        reference=model.reference,
        mistakes=model.mistakes,
    )
    send(Finished(metrics=evaluation.metric_values()))


def write_version(
    job: TrainingJob,
    *,
    card: Card,
    state: Mapping[str, Tensor],
    golden: Sequence[tuple[Tensors, Tensors]],
    evaluation: Evaluation,
    held_out: Predictions,
    curves: Sequence[Metric],
    hyperparameters: Mapping[str, Any],
    splits: Splits,
    training_s: float,
    reference: HeldOut | None,
    mistakes: Sequence[Mistake] | None = None,
) -> None:
    """Writes the job's `result/`, with the worst mistakes and the accounting of its examples. See `write_result`."""
    write_result(
        job.order,
        job.folder,
        base=job.base,
        base_files=job.files,
        dataset=job.info,
        card=card,
        state=state,
        golden=golden,
        evaluation=evaluation,
        curves=curves,
        hyperparameters=hyperparameters,
        splits=splits,
        mistakes=worst_mistakes(job.task, job.labels, held_out, job.examples) if mistakes is None else mistakes,
        training_s=training_s,
        held_out=reference,
        accounting=account_for_examples(job, splits),
    )


def with_tolerance(card: Card, golden: Sequence[tuple[Tensors, Tensors]]) -> Card:
    """The card with a tolerance that fits the size of its outputs."""
    largest = max((float(np.abs(np.asarray(out)).max()) for _, outs in golden for out in outs.values()), default=0.0)
    bound = max(card.tolerance.max_abs_error, RELATIVE_TOLERANCE * largest)
    reduced = card.tolerance.reduced_precision
    if reduced.max_abs_error is not None:
        # A number is in spreads of the target; a forecast is in the units of the data, which may be arbitrarily small.
        size = largest or 1.0 if card.task == FORECASTING else max(1.0, largest)
        reduced = reduced.model_copy(update={"max_abs_error": REDUCED_TOLERANCE * size})
    tolerance = card.tolerance.model_copy(update={"max_abs_error": bound, "reduced_precision": reduced})
    return card.model_copy(update={"tolerance": tolerance})


def version_state(network: nn.Module, whole: bool) -> dict[str, Tensor]:
    """The tensors of the version's file, as `model_zoo/network.py` reads them; unless `whole`, without those of its base."""
    if not isinstance(network, TunedNetwork):
        backbone = network.backbone
        assert isinstance(backbone, nn.Module)
        state = backbone.state_dict()
    else:
        state = network.state_dict() if whole else added_tensors(network.state_dict())
    return without_views(state)


@torch.no_grad()
def run_single(network: nn.Module, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
    """The network's outputs for a single row."""
    outputs: Mapping[str, Tensor] = network(**{n: torch.from_numpy(np.asarray(a))[None] for n, a in inputs.items()})
    return {name: tensor[0].numpy() for name, tensor in outputs.items() if name != FEATURES}


def preparation_files(job: TrainingJob, card: Card) -> Materialised:
    """The files with which the task of an unfinished card prepares examples: the base's files, and the labels."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if card.labels is not None:
        write_labels(job.folder / card.labels, job.labels)
    if job.files is None:
        return Materialised(job.folder, job.folder / "none", {}, "")
    return Materialised(job.folder, job.files.weights, job.files.files, job.files.digest)
