"""A head on fixed features: validation data choose the penalty, and decide between a linear head and an MLP."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from service.training.heads.fit import FittedHead, fit_head
from service.training.heads.labelled_features import LabelledFeatures
from service.training.hyperparameters import Hyperparameters
from service.training.stop_signal import StopRequested, StopSignal

HPARAMS = Hyperparameters(weight_decay=None, epochs=60, learning_rate=1e-2, patience=10)


def blobs(examples: int, noise: float, seed: int, classes: int = 3, width: int = 20) -> LabelledFeatures:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (examples,), generator=generator)
    x = noise * torch.randn(examples, width, generator=generator)
    x[:, :classes] += functional.one_hot(y, classes)
    return LabelledFeatures(x, y)


def rings(examples: int, seed: int) -> LabelledFeatures:
    """Inside or outside a circle: the classes are not linearly separable."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 2, generator=generator)
    return LabelledFeatures(x, (x.norm(dim=1) > 1.2).long())


def fit(train: LabelledFeatures, validation: LabelledFeatures, classes: int | None, **more: object) -> FittedHead:
    settings = {"kind": None, "output": "logits", "seed": 0, "stop": StopSignal()} | more
    return fit_head(train, validation, classes, HPARAMS, **settings)  # type: ignore[arg-type]


def accuracy(fitted: FittedHead, data: LabelledFeatures) -> float:
    return float((fitted.head(data.x).argmax(dim=1) == data.y).float().mean())


def test_penalty_for_noisier_data_is_stronger() -> None:
    easy = fit(blobs(150, 0.1, 1), blobs(50, 0.1, 2), 3, kind="linear")
    noisy = fit(blobs(150, 1.5, 1), blobs(50, 1.5, 2), 3, kind="linear")
    assert float(noisy.chosen["weight_decay"]) > 10 * float(easy.chosen["weight_decay"])
    assert accuracy(easy, blobs(200, 0.1, 3)) == 1.0


def test_mlp_is_taken_if_classes_are_not_linearly_separable() -> None:
    fitted = fit(rings(600, 1), rings(200, 2), 2)
    assert fitted.chosen["head"] == "mlp"
    assert accuracy(fitted, rings(500, 3)) > 0.93


def test_linear_head_as_good_as_mlp_is_taken() -> None:
    fitted = fit(blobs(600, 0.5, 1), blobs(200, 0.5, 2), 3)
    assert fitted.chosen["head"] == "linear"


def test_requested_kind_is_taken() -> None:
    assert fit(blobs(60, 0.3, 1), blobs(30, 0.3, 2), 3, kind="mlp").chosen["head"] == "mlp"
    assert fit(rings(600, 1), rings(200, 2), 2, kind="linear").chosen["head"] == "linear"


def test_fit_of_few_numbers_uses_one_thread() -> None:
    threads: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = blobs(60, 0.3, 1)
        fit(data, data, 3, kind="linear", on_metric=lambda _: threads.append(torch.get_num_threads()))
        assert {*threads} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_requested_penalty_is_kept() -> None:
    hparams = HPARAMS.model_copy(update={"weight_decay": 0.5})
    data = blobs(60, 0.3, 1)
    fitted = fit_head(data, data, 3, hparams, kind="linear", output="logits", seed=0, stop=StopSignal())
    assert fitted.chosen["weight_decay"] == 0.5


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_heads_with_same_seed_are_equal(kind: str) -> None:
    heads = [fit(blobs(100, 0.5, 1), blobs(40, 0.5, 2), 3, kind=kind, seed=3).head.state_dict() for _ in range(2)]
    assert all(torch.equal(tensor, heads[1][name]) for name, tensor in heads[0].items())


def test_regression_head_fits_target_in_spreads() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator)
    data = LabelledFeatures(x, x[:, 0] - 0.5 * x[:, 3])
    fitted = fit(data, data, None, kind="linear", output="value")
    assert fitted.head.spec.output == "value"
    torch.testing.assert_close(fitted.head(x)[:, 0], data.y, atol=1e-2, rtol=0)


def test_balanced_class_weights_raise_recall_of_rare_class() -> None:
    def skewed(seed: int) -> LabelledFeatures:
        generator = torch.Generator().manual_seed(seed)
        y = (torch.rand(400, generator=generator) < 0.05).long()
        return LabelledFeatures(torch.randn(400, 3, generator=generator) + y[:, None], y)

    def recall(class_weights: str) -> float:
        hparams = HPARAMS.model_copy(update={"class_weights": class_weights})
        fitted = fit_head(skewed(1), skewed(2), 2, hparams, kind="linear", output="logits", seed=0, stop=StopSignal())
        test = skewed(3)
        return float(fitted.head(test.x).argmax(dim=1)[test.y == 1].float().mean())

    assert recall("balanced") > recall("none") + 0.3


def test_class_without_training_examples_is_never_predicted() -> None:
    train, validation = blobs(60, 0.3, 1), blobs(30, 0.3, 2)
    fitted = fit(train, validation, 4)
    assert not (fitted.head(train.x).argmax(dim=1) == 3).any()


def test_fit_without_validation_data_uses_default_penalty() -> None:
    train = blobs(60, 0.3, 1)
    fitted = fit(train, LabelledFeatures(train.x[:0], train.y[:0]), 3)
    assert fitted.validation_outputs.shape == (0, 3)
    assert accuracy(fitted, blobs(100, 0.3, 2)) > 0.9


def test_probabilities_of_linear_head_are_calibrated() -> None:
    """A strong penalty makes logits too small; validation data scale them up."""
    fitted = fit(blobs(200, 1.0, 1), blobs(300, 1.0, 2), 3, kind="linear")
    test = blobs(2000, 1.0, 3)
    chances = fitted.head(test.x).softmax(dim=1).amax(dim=1)
    assert abs(float(chances.mean()) - accuracy(fitted, test)) < 0.1


def test_validation_outputs_come_from_head_without_validation_data() -> None:
    train, noise = blobs(100, 0.3, 1), blobs(60, 0.3, 2)
    shuffled = LabelledFeatures(noise.x, noise.y[torch.randperm(60, generator=torch.Generator().manual_seed(0))])
    fitted = fit(train, shuffled, 3, kind="linear")
    assert float((fitted.validation_outputs.argmax(axis=1) == np.asarray(shuffled.y)).mean()) < 0.6


def test_fit_with_stop_signal_stops() -> None:
    stop = StopSignal()
    stop.cancel.set()
    with pytest.raises(StopRequested):
        fit(blobs(50, 0.3, 1), blobs(20, 0.3, 2), 3, stop=stop)
