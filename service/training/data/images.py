"""Batches of pictures, each varied anew in each epoch: decoded ahead in a thread, varied between two steps.

How a picture looks in an epoch follows from the seed, the epoch and its number, whatever came before: hence a job that goes on
after a crash sees the same pictures as one that was never interrupted. Decoding is what takes long, and it draws nothing at
random; varying a picture takes a thirtieth of learning from it, and needs the global generators to itself.
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
from service.training.data.augmentation import shrunk, variation
from service.training.data.seeds import isolated, mixed, order_of
from service.training.loop.train import Batch
from service.types import ImageInstance, Instance, RecordInstance

CACHE_BYTES = 256 * 2**20
"""Of decoded pictures; those beyond are decoded again in each epoch."""
AHEAD = 2
"""Batches that are decoded while one is learned from."""


class Pictures:
    """The training pictures, decoded and no larger than variations need, by position among the training examples."""

    def __init__(self, examples: Examples, indices: Sequence[int], recipe: ImageRecipe) -> None:
        self._examples, self._indices, self._recipe = examples, indices, recipe
        self._reader = ImageReader(recipe)
        self._kept: dict[int, Image.Image] = {}
        self._left = CACHE_BYTES

    def __getitem__(self, position: int) -> Image.Image:
        kept = self._kept.get(position)
        if kept is not None:
            return kept
        example = self._examples[self._indices[position]]
        picture = shrunk(self._reader.decode(picture_of(example.instance).data, example.origin).image, self._recipe)
        size = 3 * picture.width * picture.height
        if size <= self._left:
            self._left -= size
            self._kept[position] = picture
        return picture


def picture_of(instance: Instance) -> ImageInstance:
    """The picture of an example, alone or with a row."""
    picture = instance.parts["image"] if isinstance(instance, RecordInstance) else instance
    assert isinstance(picture, ImageInstance)
    return picture


class PhotoBatches:
    """See `loop.Batches`."""

    def __init__(
        self,
        pictures: Pictures,
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
        """`targets` and `columns` are those of the pictures, (n, …); `name` is the network's input."""
        self._pictures, self._vary = pictures, variation(recipe, level)
        self._targets, self._columns, self._name, self._device = targets, columns, name, device
        self._batch_size, self._seed = batch_size, seed
        self.per_epoch = len(order_of(len(targets), batch_size, seed, 0))
        std = torch.tensor(recipe.std, dtype=torch.float32).view(1, 3, 1, 1)
        self._scale = (1.0 / (255.0 * std)).to(device)
        self._shift = (-torch.tensor(recipe.mean, dtype=torch.float32).view(1, 3, 1, 1) / std).to(device)

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """See `loop.Batches`."""
        batches = order_of(len(self._targets), self._batch_size, self._seed, epoch)[start:]
        with ThreadPoolExecutor(1, "decoder") as pool:
            decoding: deque[Future[list[Image.Image]]] = deque()
            ahead = iter(batches)
            for rows in batches:
                while len(decoding) <= AHEAD and (next_rows := next(ahead, None)) is not None:
                    decoding.append(pool.submit(self._decoded, next_rows))
                pictures = decoding.popleft().result()
                varied = [self._varied(p, epoch, row) for p, row in zip(pictures, rows, strict=True)]
                pixels = torch.from_numpy(np.stack(varied)).to(self._device).float().mul_(self._scale).add_(self._shift)
                inputs = {self._name: pixels.contiguous(memory_format=torch.channels_last)}
                if self._columns is not None:
                    inputs["columns"] = self._columns[rows].to(self._device)
                yield Batch(inputs, self._targets[rows].to(self._device))

    def _decoded(self, rows: Sequence[int]) -> list[Image.Image]:
        return [self._pictures[row] for row in rows]

    def _varied(self, picture: Image.Image, epoch: int, row: int) -> NDArray[np.uint8]:
        with isolated(mixed(self._seed, epoch, row)):
            return self._vary(picture)
