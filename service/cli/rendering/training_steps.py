"""A step of a training, for people: forward, loss, gradient, step, each number of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, SupportsFloat

from service.cli.rendering.console import escaped, new_table, print_line, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from model_zoo.training_recipes.steps import Step


def print_step(step: Step, inputs: Sequence[str]) -> None:
    """Prints a step of a network of linear layers. `inputs`: names of the columns of its first layer."""
    rows = len(step.targets)
    print_line(f"step {step.number}: {rows} rows, learning rate {step.rate:.4g}")
    print_line("")
    print_line(f"forward, the first of the {rows} rows:")
    print_table(_forward(step, inputs))
    print_line("")
    print_line(f"loss, the mean of the {rows} rows: {step.loss:.4f}")
    print_line("")
    print_line("gradient of the loss by each weight, and the step against it:")
    print_table(_weights(step))


def _forward(step: Step, inputs: Sequence[str]) -> Table:
    """A row for the inputs, then for each layer its weighted sums, and of a hidden one its activations."""
    width = max(layer.inputs.shape[1] for layer in step.layers)
    numbers = tuple(str(unit) for unit in range(1, width + 1))
    table = new_table("layer", "", *numbers, right=numbers)
    table.add_row("input", "", *(escaped(name) for name in inputs))
    table.add_row("", "standardised", *map(_shown, step.layers[0].inputs[0]))
    for layer, following in zip(step.layers, [*step.layers[1:], None], strict=True):
        kind = "output" if following is None else "weighted sums"
        table.add_row(escaped(layer.name), kind, *map(_shown, layer.outputs[0]))
        if following is not None:
            table.add_row("", "activations", *map(_shown, following.inputs[0]))
    table.add_row("", "target", *map(_shown, step.targets[0]))
    return table


def _weights(step: Step) -> Table:
    """Three rows for each unit: its weights before the step, their gradients, and the weights after it."""
    width = max(layer.inputs.shape[1] for layer in step.layers)
    numbers = tuple(str(unit) for unit in range(1, width + 1))
    table = new_table("unit", "", *numbers, "bias", right=(*numbers, "bias"))
    for name, unit in _units(step):
        label = f"{name}, unit {unit + 1}"
        for kind, values in (("before", step.before), ("gradient", step.gradients), ("after", step.after)):
            weights = [_shown(weight) for weight in values[f"{name}.weight"][unit]]
            empty = [""] * (width - len(weights))
            table.add_row(escaped(label), kind, *weights, *empty, _shown(values[f"{name}.bias"][unit]))
            label = ""
    return table


def _units(step: Step) -> Iterator[tuple[str, int]]:
    for layer in step.layers:
        for unit in range(layer.outputs.shape[1]):
            yield layer.name, unit


def _shown(number: SupportsFloat) -> str:
    return f"{float(number):+.4f}"
