"""Batches of images, augmented differently in each epoch. A thread decodes ahead; augmentation runs between two steps.

The seed, the epoch and the position of an image decide its variation, whatever came before: a resumed job sees the same images as
one that was never interrupted. Decoding is slow and draws no random numbers. Augmenting an image takes a thirtieth of the time of
training on it, and needs the global generators for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model_zoo.cards.recipes import ImageRecipe
from service.datasets.dataset import Examples
from service.tasks.image.image_input import ImageReader
from service.training.data.augmentation import augmentation, shrink_for_crops
from service.training.data.feature_inputs import base_instance
from service.training.data.seeds import batch_order, isolated_generators, mix_seeds
from service.training.loop.train import TrainingBatch
from service.types import ImageInstance

CACHE_BYTES = 256 * 2**20
"""Decoded images that stay in memory; others are decoded again in each epoch."""
BATCHES_AHEAD = 2
"""Batches that are decoded while one is trained on."""


class TrainingImages:
    """The training images, decoded and no larger than augmentation needs, by position among the training examples."""

    def __init__(self, examples: Examples, indices: Sequence[int], recipe: ImageRecipe) -> None:
        self._examples, self._indices, self._recipe = examples, indices, recipe
        self._reader = ImageReader(recipe)
        self._cached: dict[int, Image.Image] = {}
        self._free_bytes = CACHE_BYTES

    def __getitem__(self, position: int) -> Image.Image:
        cached = self._cached.get(position)
        if cached is not None:
            return cached
        example = self._examples[self._indices[position]]
        instance = base_instance(example)
        assert isinstance(instance, ImageInstance)
        image = shrink_for_crops(self._reader.decode(instance.data, example.origin).image, self._recipe)
        size = 3 * image.width * image.height
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._cached[position] = image
        return image


class AugmentedBatches:
    """Batches of augmented images, with the columns of their rows if they have any. Implements `train.Batches`."""

    def __init__(
        self,
        images: TrainingImages,
        recipe: ImageRecipe,
        level: str,
        targets: Tensor,
        batch_size: int,
        seed: int,
        *,
        name: str,
        columns: Tensor | None = None,
        device: str = "cpu",
    ) -> None:
        """`targets` and `columns` are those of the images, (n, …); `name` is the network's input."""
        self._images, self._augment = images, augmentation(recipe, level)
        self._targets, self._columns, self._name, self._device = targets, columns, name, device
        self._batch_size, self._seed = batch_size, seed
        self.per_epoch = len(batch_order(len(targets), batch_size, seed, 0))
        std = torch.tensor(recipe.std, dtype=torch.float32).view(1, 3, 1, 1)
        self._scale = (1.0 / (255.0 * std)).to(device)
        self._shift = (-torch.tensor(recipe.mean, dtype=torch.float32).view(1, 3, 1, 1) / std).to(device)

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""
        batches = batch_order(len(self._targets), self._batch_size, self._seed, epoch)[start:]
        with ThreadPoolExecutor(1, "decoder") as pool:
            decoding: deque[Future[list[Image.Image]]] = deque()
            ahead = iter(batches)
            for rows in batches:
                while len(decoding) <= BATCHES_AHEAD and (next_rows := next(ahead, None)) is not None:
                    decoding.append(pool.submit(self._decode, next_rows))
                images = decoding.popleft().result()
                augmented = [self._augmented(image, epoch, row) for image, row in zip(images, rows, strict=True)]
                pixels = torch.from_numpy(np.stack(augmented)).to(self._device).float()
                pixels = pixels.mul_(self._scale).add_(self._shift)
                inputs = {self._name: pixels.contiguous(memory_format=torch.channels_last)}
                if self._columns is not None:
                    inputs["columns"] = self._columns[rows].to(self._device)
                yield TrainingBatch(inputs, self._targets[rows].to(self._device))

    def _decode(self, rows: Sequence[int]) -> list[Image.Image]:
        return [self._images[row] for row in rows]

    def _augmented(self, image: Image.Image, epoch: int, row: int) -> NDArray[np.uint8]:
        with isolated_generators(mix_seeds(self._seed, epoch, row)):
            return self._augment(image)
