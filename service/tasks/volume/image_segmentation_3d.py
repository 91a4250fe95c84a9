"""Task `image-segmentation-3d`: a volume → the object in it, such as the brain in an MRI of a head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import VolumeRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, VolumeExpectation, golden_path
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import read_each, reject_kind
from service.tasks.volume.nifti import read_nifti, to_file_axes, write_nifti
from service.types import (
    Answer,
    Instance,
    Item,
    Options,
    SegmentedRegion,
    TensorInstance,
    Tensors,
    VolumeInstance,
    VolumeSegmentation,
    VolumeSpace,
)

SIZE = "size"
"""Output: lengths of the axes, for callers of several rows, whose volumes are padded to the largest."""
UPRIGHT = VolumeSpace(np.eye(4), np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), 1.0)
"""Where a row came as tensors: voxels of 1 mm, axes to the right, to the front and upwards."""


class ImageSegmentation3d(Task):
    """A mask, with the volume and the box of the object."""

    options = frozenset({"threshold"})
    raw_types: tuple[type, ...] = (VolumeInstance,)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        """Raises TypeError for a card with another kind of recipe."""
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, VolumeRecipe):
            raise TypeError(f"card {card.name} has no recipe of volumes")
        self._recipe = card.recipe
        self._input, self._output = card.signature.inputs[0].name, card.signature.outputs[0].name

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """NIfTI-1 files → `[1, x, y, z]` float32, axes to the right, to the front and upwards."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        if not isinstance(instance, VolumeInstance):
            raise reject_kind(self.card, instance, path)
        volume = read_nifti(instance.data, self._recipe.least_side, self._recipe.most_voxels, path)
        notes = {"not_finite": volume.not_finite} if volume.not_finite else {}
        return Item({self._input: volume.voxels[None]}, notes=notes, space=volume.space)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task; refuses a volume that is too small or too large."""
        item = super().row(instance, path)
        shape = item.tensors[self._input].shape[1:]
        least, most = self._recipe.least_side, self._recipe.most_voxels
        if min(shape) < least or math.prod(shape) > most:
            expected = f"expected at least {least} voxels on each axis and at most {most:,} in all"
            raise InvalidInput(f"{path}.{self._input}", f"{expected}, got {list(shape)}")
        if not np.isfinite(item.tensors[self._input]).all():
            raise InvalidInput(f"{path}.{self._input}", "expected finite numbers")
        return item

    def groups(self, items: Sequence[Item]) -> list[list[int]]:
        """Each row alone."""
        return [[i] for i in range(len(items))]

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """A batch's outputs → rows; `size` `[3]` has the lengths of the axes of each."""
        rows = super().split(outputs, items)
        return [{**row, SIZE: np.array(row[self._output].shape, np.int64)} for row in rows]

    def postprocess(self, row: Tensors, item: Item, options: Options) -> VolumeSegmentation:
        """`[x, y, z]` probabilities → the largest connected part above the threshold, without holes."""
        threshold = self._recipe.threshold if options.threshold is None else options.threshold
        mask = one_solid(np.asarray(row[self._output], np.float32) > threshold, row["box"])
        space = item.space or UPRIGHT
        mask = np.ascontiguousarray(to_file_axes(mask, space))
        voxels = int(np.count_nonzero(mask))
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        found: tuple[SegmentedRegion, ...] = ()
        if voxels:
            edges = [
                np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)
            ]
            start = (int(edges[0][0]), int(edges[1][0]), int(edges[2][0]))
            end = (int(edges[0][-1]) + 1, int(edges[1][-1]) + 1, int(edges[2][-1]) + 1)
            millilitres = voxels * abs(float(np.linalg.det(space.affine[:3, :3]))) * space.millimetres**3 / 1000.0
            found = (SegmentedRegion(1, self._recipe.object_name, voxels, millilitres, start, end),)
        return VolumeSegmentation(found, write_nifti(mask.astype(np.uint8), space), shape)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The volume of a golden case."""
        assert given.file is not None
        return VolumeInstance(golden_path(given.file).read_bytes())

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another volume, or a box elsewhere."""
        assert isinstance(expect, VolumeExpectation)
        assert isinstance(answer, VolumeSegmentation)
        if not answer.regions:
            return f"expected {expect.millilitres:g} ml, found nothing"
        [found] = answer.regions
        if not abs(found.millilitres - expect.millilitres) <= expect.tolerance_millilitres:
            allowed = expect.tolerance_millilitres
            return f"expected {expect.millilitres:g} ml, got {found.millilitres:.1f}; it may differ by {allowed:g}"
        got = (*found.start, *found.end)
        if max(abs(a - b) for a, b in zip(got, expect.box, strict=True)) > expect.tolerance_voxels:
            return (
                f"expected the box {list(expect.box)}, got {list(got)}; an edge may differ by {expect.tolerance_voxels}"
            )
        return None

    def warmup_item(self) -> Item:
        """A small volume with two halves: no brain is found in it."""
        side = self._recipe.least_side
        voxels = np.zeros((1, side, side, side), np.float32)
        voxels[:, : side // 2] = 1.0
        return Item({self._input: voxels})


def one_solid(mask: NDArray[np.bool_], box: object) -> NDArray[np.bool_]:
    """The largest connected part of a mask inside a box, with its holes filled.

    Voxels that share a corner are connected; a hole is empty, and no path through faces leads from it to the edge of the box.
    """
    from scipy import ndimage  # only where volumes are answered: the import takes a part of a server's start

    edges = np.asarray(box, np.int64).tolist()
    inside = tuple(slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True))
    solid = np.zeros_like(mask)
    labels, count = ndimage.label(mask[inside], structure=np.ones((3, 3, 3), bool))
    if not count:
        return solid
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    empty, _ = ndimage.label(~largest)
    outer = [np.unique(np.take(empty, [0, -1], axis=axis)) for axis in range(3)]
    outside = np.isin(empty, np.setdiff1d(np.concatenate(outer), [0]))
    solid[inside] = ~outside
    return solid
