"""Class weights make rare classes count as much as frequent ones."""

from __future__ import annotations

import numpy as np
import torch

from service.training.heads.losses import balanced_class_weights
from service.training.hyperparameters import Hyperparameters
from service.training.loop.criteria import classification_metrics

HPARAMS = Hyperparameters(
    epochs=3, batch_size=32, learning_rate=2e-2, patience=0, checkpoint_steps=4, batch_norm="trained"
)


def test_balanced_validation_loss_prefers_model_that_finds_rare_class() -> None:
    """Nine of ten examples are of one class: a model that never predicts the other class has a low loss unless classes are
    weighted."""
    targets = np.array([0.0] * 9 + [1.0])
    never_rare = np.tile(np.array([[2.5, 0.0]], np.float32), (10, 1))
    finds_rare = np.tile(np.array([[0.5, 0.0]], np.float32), (10, 1))
    finds_rare[9] = [0.0, 2.0]
    learned = torch.from_numpy(targets.astype(np.int64))
    class_weights = balanced_class_weights(HPARAMS.model_copy(update={"class_weights": "balanced"}), learned, 2)
    plain, balanced = (
        [classification_metrics(logits, targets, weights)["loss"] for logits in (never_rare, finds_rare)]
        for weights in (None, class_weights)
    )
    assert plain[0] < plain[1]
    assert balanced[0] > balanced[1]
