"""Methods `head`, `lora` and `full` on texts with labelled spans: a linear layer or small perceptron on the vector of each token.

The tags are BIO, one for each token that the tokenizer makes: B for the first token that shares a character with a span, I for
its others. A head alone is fitted on the vectors of frozen tokens; it is the start of `lora` and `full`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_zoo.architectures.tuned import TunedNetwork
from model_zoo.cards.card import Card
from model_zoo.cards.tuned_parts import HeadSpec
from service.tasks.table import task_for
from service.training.artifacts.finalize import TrainedModel, finish
from service.training.data.prepared import PreparedExamples
from service.training.data.tagged_tokens import TaggedBatches, token_outputs
from service.training.data.token_tags import IGNORED, WordTags
from service.training.evaluation.incumbent import OTHER_INPUTS, OpenedIncumbent, open_incumbent
from service.training.evaluation.measurements import NotCompared, Predictions
from service.training.evaluation.span_counts import answered_spans, count_spans
from service.training.failures import CannotTrain
from service.training.heads.fit import fit_head
from service.training.heads.labelled_features import LabelledFeatures
from service.training.heads.linear_probe import set_to_probe
from service.training.heads.losses import balanced_class_weights
from service.training.job_spec import Method, WorkOrder
from service.training.loop.checkpoint import Checkpoints, LoopState
from service.training.loop.criteria import Criterion
from service.training.loop.train import train
from service.training.methods.full import add_feature_dropout, feature_width, pretrained_backbone, with_new_head
from service.training.methods.supervised import golden_inputs
from service.training.methods.token_data import TokenData, prepare_tokens
from service.training.protocol import Metric, Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job

MAX_TOKENS = 40_000
"""Tokens that a head is fitted on at most, an even sample of more: its solution hardly changes beyond, and its memory is
bounded."""
MAX_SCORES = 10_000_000
"""Tokens × tags of such a fit, which holds several arrays of them."""
PROBE_STRENGTH = 1e-3
"""L2 penalty of the head from which `lora` and `full` start. Most tokens are outside of spans: a stronger one would leave a
head that finds none."""
BATCH_ROWS = 16
NO_ANSWERS = NotCompared("it gave no answers to these texts")


def train_tokens(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job. Sends Finished, the final message. Raises CannotTrain if no training text is usable."""
    job = open_job(order, folder)
    send(Progress(phase="training", ratio=0.0))
    hparams, method = job.hparams, order.spec.method
    base = pretrained_backbone(job)
    kind = hparams.head if method is not Method.HEAD or "head" in order.spec.hyperparameters else "linear"
    spec = HeadSpec(
        kind=kind,
        inputs=feature_width(job, base),
        outputs=len(job.labels),
        hidden=hparams.hidden if kind == "mlp" else None,
        per_token=True,
    )
    network, card, prepared = with_new_head(job, base, spec)
    data = prepare_tokens(job, prepared, send, stop)
    checkpoints = Checkpoints(job.folder / "checkpoints")
    state = LoopState()
    if method is Method.HEAD:
        state.curves = list(_fit_head(job, network, data, send, stop))
        network.requires_grad_(False)
    else:
        if checkpoints.last() is None:
            tokens = _frozen_tokens(job, network, data, "train", stop)  # the validation data choose the epoch
            set_to_probe(network.head, tokens.x, tokens.y, hparams, PROBE_STRENGTH)
        state = _train(job, network, data, checkpoints, card, send, stop)
    send(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    stop.check()
    network.cpu()
    held_out = _measure(network, card, data, "test", hparams.batch_size, stop)
    finish(
        job,
        TrainedModel(
            card=card,
            network=network,
            held_out=held_out,
            incumbent=_incumbent(job, data, stop),
            train_targets=np.zeros(0),
            golden=golden_inputs(prepared, data.splits["test"]),
            state=state,
            splits=data.splits,
            baseline_outputs=_baseline(job, data),
        ),
        send,
        stop,
    )


# ── the head on frozen tokens ─────────────────────────────────────────────────────────────────────────────────────────


def _fit_head(
    job: TrainingJob, network: TunedNetwork, data: TokenData, send: SendMessage, stop: StopSignal
) -> Sequence[Metric]:
    """Sets the head to the best one on the vectors of frozen tokens, and returns its curves."""
    fitted = fit_head(
        _frozen_tokens(job, network, data, "train", stop),
        _frozen_tokens(job, network, data, "validation", stop),
        network.head.spec.outputs,
        job.hparams,
        kind=network.head.spec.kind,
        output=network.head.spec.output,
        seed=job.order.spec.seed,
        stop=stop,
        on_metric=send,
    )
    network.head.load_state_dict(fitted.head.state_dict())
    return fitted.curves


def most_tokens(tags: int) -> int:
    """Tokens that a head of so many tags is fitted on."""
    return min(MAX_TOKENS, max(1, MAX_SCORES // tags))


@torch.no_grad()
def _frozen_tokens(
    job: TrainingJob, network: TunedNetwork, data: TokenData, split: str, stop: StopSignal
) -> LabelledFeatures:
    """Vectors and tags of the tokens of a split, at most about `most_tokens`; whole texts are left out evenly."""
    prepared, indices = data.texts.prepared, data.splits[split]
    total = sum(prepared.lengths(indices) or ())
    chosen = indices[:: max(1, -(-total // most_tokens(len(job.labels))))]
    rows: list[Tensor] = []
    tags: list[Tensor] = []
    for at in range(0, len(chosen), BATCH_ROWS):
        stop.check()
        batch = data.texts.collate(chosen[at : at + BATCH_ROWS])
        vectors = network.base.token_features(**batch.inputs).float()
        kept = batch.targets != IGNORED
        rows.append(vectors[kept])
        tags.append(batch.targets[kept])
    return LabelledFeatures(torch.cat(rows), torch.cat(tags))


# ── training of the base ──────────────────────────────────────────────────────────────────────────────────────────────


def _train(
    job: TrainingJob,
    network: TunedNetwork,
    data: TokenData,
    checkpoints: Checkpoints,
    card: Card,
    send: SendMessage,
    stop: StopSignal,
) -> LoopState:
    hparams, device = job.hparams, job.order.device
    output = card.signature.outputs[0].name
    weights = None
    if hparams.class_weights != "none":
        tags = [
            data.texts.tags(i, item)
            for i, item in zip(data.splits["train"], data.texts.prepared.each(data.splits["train"]), strict=True)
        ]
        known = np.concatenate(tags)
        weights = balanced_class_weights(hparams, torch.from_numpy(known[known != IGNORED]), len(job.labels))

    def validate() -> dict[str, float]:
        return _validation(network, output, data, weights, hparams.batch_size, stop, device)

    add_feature_dropout(network.head, hparams.dropout)
    network.to(device)
    batches = TaggedBatches(data.texts, data.splits["train"], hparams.batch_size, job.order.spec.seed, device)
    criterion = _token_cross_entropy(hparams.label_smoothing, weights)
    return train(network, batches, criterion, validate, hparams, checkpoints, send, stop, output=output, device=device)


def _token_cross_entropy(smoothing: float, class_weights: Tensor | None) -> Criterion:
    """The criterion for logits (B, T, tags) and tags (B, T): the mean over tokens that have a tag."""

    def loss(logits: Tensor, tags: Tensor) -> Tensor:
        weights = None if class_weights is None else class_weights.to(logits.device)
        return functional.cross_entropy(
            logits.flatten(0, 1), tags.flatten(), weights, ignore_index=IGNORED, label_smoothing=smoothing
        )

    return loss


def _validation(
    network: TunedNetwork,
    output: str,
    data: TokenData,
    weights: Tensor | None,
    batch_size: int,
    stop: StopSignal,
    device: str,
) -> dict[str, float]:
    """Mean cross entropy of the tokens in nats, with the class weights of training, and the F1 of spans."""
    indices, prepared = data.splits["validation"], data.texts.prepared
    logits = token_outputs(network, output, prepared, indices, batch_size, stop, device=device)
    tags = np.concatenate([data.texts.tags(i, item) for i, item in zip(indices, prepared.each(indices), strict=True)])
    kept = tags != IGNORED
    loss = functional.cross_entropy(
        torch.from_numpy(np.concatenate(logits)[kept]).double(),
        torch.from_numpy(tags[kept]),
        None if weights is None else weights.double(),
    )
    found = _counts(prepared, data, "validation", logits)
    hits, marked, true = (
        float(x) for x in (found.outputs[..., 0].sum(), found.outputs[..., 1].sum(), found.targets.sum())
    )
    return {"loss": loss.item(), "f1": 2.0 * hits / max(marked + true, 1.0)}


# ── evaluation ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _measure(
    network: TunedNetwork, card: Card, data: TokenData, split: str, batch_size: int, stop: StopSignal
) -> Predictions:
    prepared, output = data.texts.prepared, card.signature.outputs[0].name
    logits = token_outputs(network, output, prepared, data.splits[split], batch_size, stop)
    if not all(np.isfinite(values).all() for values in logits):
        raise CannotTrain("the trained model gives no finite numbers for the held-out texts")
    return _counts(prepared, data, split, logits)


def _counts(
    prepared: PreparedExamples, data: TokenData, split: str, logits: Sequence[NDArray[np.float32]]
) -> Predictions:
    """Counts of spans as the served version would answer."""
    indices = data.splits[split]
    found = [
        answered_spans(prepared.task, item, values, data.labels)
        for item, values in zip(prepared.each(indices), logits, strict=True)
    ]
    outputs, targets = count_spans(found, [data.texts.spans(index) for index in indices], len(data.labels))
    return Predictions(outputs, targets, indices)


def _baseline(job: TrainingJob, data: TokenData) -> NDArray[np.int64]:
    """Counts of each word's most frequent tag, on the held-out texts."""
    words = WordTags((data.text(job, index), data.texts.spans(index)) for index in data.splits["train"])
    indices = data.splits["test"]
    found = [words.spans(data.text(job, index)) for index in indices]
    return count_spans(found, [data.texts.spans(index) for index in indices], len(data.labels))[0]


def _incumbent(job: TrainingJob, data: TokenData, stop: StopSignal) -> Predictions | NotCompared | None:
    incumbent = open_incumbent(job)
    if not isinstance(incumbent, OpenedIncumbent):
        return incumbent
    prepared = PreparedExamples(job.examples, task_for(incumbent.card, incumbent.files))
    output = incumbent.card.signature.outputs[0].name
    try:
        logits = token_outputs(incumbent.network, output, prepared, data.splits["test"], BATCH_ROWS, stop)
    except (CannotTrain, KeyError):
        return OTHER_INPUTS
    except RuntimeError:
        return NO_ANSWERS
    return _counts(prepared, data, "test", logits)
