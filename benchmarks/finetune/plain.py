"""A plain script that fine-tunes a timm network: one file, one loop. It runs as a process of its own.

    python -m benchmarks.finetune.plain --weights W.safetensors --data FOLD --epochs 10 [--full]

Without `--full` the backbone is frozen and the loop trains the classifier; with it, all weights. The epoch that is best on
`validation/` is tested. Prints a line of JSON: accuracy on `test/`, seconds of each epoch without validation, seconds in all.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm.data
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset


class ImageFolder(Dataset[tuple[torch.Tensor, int]]):
    """A folder of images for each class."""

    def __init__(self, folder: Path, transform: Any) -> None:
        self.classes = sorted(path.name for path in folder.iterdir())
        self.paths = sorted(folder.glob("*/*"))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path = self.paths[index]
        image = Image.open(path).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return self.transform(Image.alpha_composite(white, image).convert("RGB")), self.classes.index(path.parent.name)


def main() -> None:
    """Train and test."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)

    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(load_file(given.weights))
    timm_data: Any = timm.data
    config = timm_data.resolve_model_data_config(model)
    validation = ImageFolder(given.data / "validation", timm_data.create_transform(**config))
    test = ImageFolder(given.data / "test", timm_data.create_transform(**config))
    train = ImageFolder(given.data / "train", timm_data.create_transform(**config, is_training=given.full))
    model.reset_classifier(len(train.classes))
    model = model.to(memory_format=torch.channels_last)
    if not given.full:
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-4 if given.full else 3e-3, weight_decay=0.01)
    batches = DataLoader(train, given.batch, shuffle=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, given.epochs * len(batches))
    loss_of = nn.CrossEntropyLoss()
    epoch_s: list[float] = []
    best: tuple[int, dict[str, torch.Tensor]] = (-1, {})
    for _ in range(given.epochs):
        started = time.perf_counter()
        model.train(given.full)
        for images, labels in batches:
            logits = model(images.contiguous(memory_format=torch.channels_last))
            loss = loss_of(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        epoch_s.append(time.perf_counter() - started)
        right = sum(_right(model, DataLoader(validation, given.batch)))
        if right > best[0]:
            best = right, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best[1])
    right = sum(_right(model, DataLoader(test, given.batch)))
    total_s = time.perf_counter() - began
    print(json.dumps({"accuracy": right / len(test), "epoch_s": epoch_s, "total_s": total_s}))


@torch.inference_mode()
def _right(model: Any, batches: DataLoader[Any]) -> Iterator[int]:
    model.eval()
    for images, labels in batches:
        yield int((model(images).argmax(1) == labels).sum())


if __name__ == "__main__":
    main()
