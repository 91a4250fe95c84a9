"""The training loop of the recipes: minibatches, Adam (Kingma and Ba, arXiv:1412.6980), a rate that falls along half a
cosine."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model_zoo.training_recipes.recipe import Report
from model_zoo.training_recipes.steps import StepRecorder

__all__ = ["Plan", "fit"]


@dataclass(frozen=True)
class Plan:
    """Lengths and rates of a training."""

    epochs: int
    batch: int
    """Rows of a step; the rows that do not fill the last batch of an epoch are left out of that epoch."""
    rate: float
    """Of the first step."""
    weight_decay: float = 0.0
    seed: int = 0
    """Of the order of the rows."""


def fit(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    plan: Plan,
    validate: Callable[[], float],
    report: Report,
    recorder: StepRecorder | None = None,
) -> float:
    """Trains a network in place, and leaves it in evaluation mode in the state after the epoch with the least
    `validate()`.

    Args:
        inputs: by the names of the network's arguments; the first axis counts rows, as that of `targets`.
        loss: outputs and targets of a batch → a number.
        validate: measures the network on rows that it does not learn from, in evaluation mode.
        recorder: records the steps; it may end the training by ``EnoughSteps``.

    Returns:
        The least value of `validate`.
    """
    rows = len(targets)
    steps = max(1, rows // plan.batch)
    optimizer = torch.optim.AdamW(network.parameters(), plan.rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.epochs * steps)
    if recorder is not None:
        loss = recorder.attached(network, optimizer, loss)
    generator = torch.Generator().manual_seed(plan.seed)
    best, kept = float("inf"), copy.deepcopy(network.state_dict())
    for epoch in range(plan.epochs):
        network.train()
        order = torch.randperm(rows, generator=generator)
        for step in range(steps):
            batch = order[step * plan.batch : (step + 1) * plan.batch]
            optimizer.zero_grad(set_to_none=True)
            value = loss(network(**{name: tensor[batch] for name, tensor in inputs.items()}), targets[batch])
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            found = validate()
        if found < best:
            best, kept = found, copy.deepcopy(network.state_dict())
        if epoch % max(1, plan.epochs // 10) == 0 or epoch + 1 == plan.epochs:
            report(f"epoch {epoch + 1} of {plan.epochs}: {found:.4f}, the least so far {best:.4f}")
    network.load_state_dict(kept)
    network.eval()
    return best
