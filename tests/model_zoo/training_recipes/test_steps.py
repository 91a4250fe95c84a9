"""A recorded step is the arithmetic of a course: sums, loss, gradients by the chain rule, and a step of Adam."""

from __future__ import annotations

import torch
from torch.nn import functional

from model_zoo.architectures.feed_forward import FeedForward
from model_zoo.training_recipes.determinism import repeatable
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.steps import EnoughSteps, Step, StepRecorder


def trained(recorder: StepRecorder | None) -> dict[str, torch.Tensor]:
    with repeatable():
        network = FeedForward(4, (3, 3))
        x = torch.randn(20, 4)
        y = x[:, :1] - x[:, 1:2] / 2
        plan = Plan(epochs=1, batch=10, rate=0.02)
        fit(network, {"numbers": x}, y, functional.smooth_l1_loss, plan, lambda: 0.0, lambda line: None, recorder)
    return {name: weight.detach() for name, weight in network.named_parameters()}


def test_recorded_step_agrees_with_the_chain_rule_and_with_adam() -> None:
    steps: list[Step] = []
    trained(StepRecorder(9, steps.append))  # of which there are two
    assert [step.number for step in steps] == [1, 2]
    step = steps[0]
    assert [layer.name for layer in step.layers] == ["hidden.0", "hidden.1", "out"]
    first, second, out = step.layers
    sums = first.inputs @ step.before["hidden.0.weight"].T + step.before["hidden.0.bias"]
    torch.testing.assert_close(first.outputs, sums)
    torch.testing.assert_close(second.inputs, torch.tanh(sums))
    torch.testing.assert_close(out.inputs, torch.tanh(second.outputs))
    difference = out.outputs - step.targets
    torch.testing.assert_close(step.loss, float(functional.smooth_l1_loss(out.outputs, step.targets)))
    by_output = difference.clamp(-1, 1) / len(difference)
    torch.testing.assert_close(step.gradients["out.weight"], by_output.T @ out.inputs)
    torch.testing.assert_close(step.gradients["out.bias"], by_output.sum(dim=0))
    for name, gradient in step.gradients.items():  # the first step of Adam: the rate, against the sign of the gradient
        torch.testing.assert_close(step.after[name], step.before[name] - step.rate * gradient.sign(), atol=1e-4, rtol=0)
    assert all(torch.equal(step.after[name], steps[1].before[name]) for name in step.after)


def test_training_is_the_same_with_a_recorder_and_ends_when_the_steps_are_done() -> None:
    seen, plain = trained(StepRecorder(9, lambda step: None)), trained(None)
    assert all(torch.equal(seen[name], plain[name]) for name in plain)
    steps: list[Step] = []
    try:
        trained(StepRecorder(1, steps.append))
    except EnoughSteps:
        assert len(steps) == 1
    else:
        raise AssertionError("the training went on")
