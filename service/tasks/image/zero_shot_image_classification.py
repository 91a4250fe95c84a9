"""Task `zero-shot-image-classification`: an image and labels that no network was trained on → the labels by probability.

The network embeds the image, and a sentence about each label, in one space (CLIP, arXiv:2103.00020; SigLIP, arXiv:2303.15343).
Each image is a row with all of its texts, so that the encoder of images runs once for it. Probabilities are those of the pipeline
of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import LabelledImageRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, golden_path
from service.errors import InvalidInput, ZooError
from service.tasks.base import MOST_LABELS, NO_FILES, Task
from service.tasks.classification import LabelAnswers, best_labels
from service.tasks.image.image_input import ImageReader
from service.tasks.image.label_texts import LONGEST_SENTENCE, LabelTexts, padded
from service.tasks.instances import read_each, reject_kind
from service.types import (
    Answer,
    Array,
    Classification,
    ImageInstance,
    Instance,
    Item,
    LabelledImageInstance,
    Options,
    TensorInstance,
    Tensors,
)

TEMPLATE = "This is a photo of {}."
"""The default sentence of the pipeline; a label takes the place of the braces."""


class ZeroShotImageClassification(Task):
    """Labels of an image that the caller names, best first."""

    options = frozenset({"top_k", "threshold", "candidate_labels", "hypothesis_template"})
    raw_types = (ImageInstance, LabelledImageInstance)
    light_rows = 16
    expands = True

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        """Raises TypeError for a card with another kind of recipe."""
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, LabelledImageRecipe):
            raise TypeError(f"card {card.name} has no recipe of images with labels")
        self._recipe = card.recipe
        self._reader = ImageReader(card.recipe.image)
        self._texts = LabelTexts(card.recipe, files)
        self._image, self._ids, *masks = (spec.name for spec in card.signature.inputs)
        self._mask = masks[0] if masks else None
        self._logits = card.signature.outputs[0].name
        self._golden = LabelAnswers(card, labels)

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def expand(self, instance: Instance, options: Options, path: str) -> Instance | None:
        """The image with a sentence about each label; None for other instances, which bring their own texts or are wrong."""
        if not isinstance(instance, ImageInstance):
            return None
        if not options.candidate_labels:
            raise InvalidInput("options.candidate_labels", "is required: the labels to choose from")
        return labelled(instance.data, options.candidate_labels, options.hypothesis_template or TEMPLATE)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Images with texts → `[3, height, width]` float32, normalised, and `[texts, tokens]` int64."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        if not isinstance(instance, LabelledImageInstance):
            raise reject_kind(self.card, instance, path)
        most = self.card.batching.max_length or MOST_LABELS
        if not 1 <= len(instance.texts) <= most:
            raise InvalidInput(f"{path}.text", f"expected 1 to {most} texts, got {len(instance.texts):,}")
        for i, text in enumerate(instance.texts):
            if len(text) > LONGEST_SENTENCE:
                raise InvalidInput(
                    f"{path}.text[{i}]", f"expected at most {LONGEST_SENTENCE:,} bytes, got {len(text):,}"
                )
        tokens = self._texts.tokens(instance.texts, f"{path}.text")
        tensors: dict[str, Array] = {self._image: self._reader.pixels(instance.image, path), self._ids: tokens.ids}
        if self._mask is not None:
            tensors[self._mask] = tokens.mask
        labels = instance.labels or tuple(text.decode() for text in instance.texts)
        return Item(tensors, len(tokens.ids), {"truncated": True} if tokens.truncated else {}, labels=labels)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task; refuses ids without an embedding, which would read past the table."""
        item = super().row(instance, path)
        ids = item.tensors[self._ids]
        most = self._recipe.text.max_tokens
        if not 1 <= ids.shape[1] <= most:
            raise InvalidInput(f"{path}.{self._ids}", f"expected 1 to {most} tokens, got {ids.shape[1]:,}")
        if int(ids.min()) < 0 or int(ids.max()) >= self._recipe.vocabulary:
            wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
            raise InvalidInput(
                f"{path}.{self._ids}", f"expected token ids in 0..{self._recipe.vocabulary - 1}, got {wrong}"
            )
        if self._mask is not None:
            self._check_mask(item.tensors[self._mask], ids.shape, path)
        return item

    def _check_mask(self, mask: Array, shape: tuple[int, ...], path: str) -> None:
        if mask.shape != shape:
            raise InvalidInput(
                f"{path}.{self._mask}", f"expected the shape {list(shape)} of {self._ids}, got {list(mask.shape)}"
            )
        if int(mask.min()) < 0 or int(mask.max()) > 1 or not mask.any(axis=1).all():
            raise InvalidInput(f"{path}.{self._mask}", "expected zeros and ones, with at least one 1 for each text")

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → one batch. Rows with fewer texts repeat their first one, whose outputs are cut off afterwards."""
        pixels = self.pixels
        assert pixels is not None
        batch: dict[str, Array] = {self._image: pixels.stack(items)}
        for name, fill in ((self._ids, self._recipe.text.pad_id), (self._mask, 0)):
            if name is not None:
                batch[name] = padded([np.asarray(item.tensors[name], np.int64) for item in items], fill)
        cells = batch[self._ids].shape[1] * len(items)
        return batch, 1.0 - sum(item.length for item in items) / cells

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """A batch's outputs → rows, each with the values of its own texts."""
        varying = {spec.name for spec in self.card.signature.outputs if spec.shape[1:2] == (-1,)}
        return [
            {name: array[: item.length] if name in varying else array for name, array in row.items()}
            for row, item in zip(super().split(outputs, items), items, strict=True)
        ]

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Classification:
        """`[texts]` logits → labels, best first. Probabilities add up to 1 unless the network judges each label by itself."""
        independent = self.card.activation == "sigmoid"
        every = Options(top_k=options.top_k or len(item.labels), threshold=options.threshold)
        return best_labels(row[self._logits], item.labels, every, independent)

    # ── golden cases ─────────────────────────────────────────────────────────────────────────────────────────────

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The photo of a golden case, with sentences about its labels."""
        assert given.file is not None
        return labelled(golden_path(given.file).read_bytes(), given.candidate_labels, TEMPLATE)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `LabelAnswers`."""
        return self._golden.golden_problem(expect, answer, answer_of)


def labelled(image: bytes, labels: Sequence[str], template: str) -> LabelledImageInstance:
    """An image with a sentence about each label."""
    names = tuple(labels)
    return LabelledImageInstance(image, _sentences(template, names), names)


@lru_cache(maxsize=8)
def _sentences(template: str, labels: tuple[str, ...]) -> tuple[bytes, ...]:
    """The sentences about the labels, which the images of a request share."""
    return tuple(template.replace("{}", label).encode() for label in labels)
