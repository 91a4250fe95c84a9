"""Models that are pulled in the process of a test, which also asks the makers' library: its own process takes ten seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from model_zoo.golden.golden_case import golden_path
from model_zoo.network import load_network
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import Pulled, pull_reference
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Answer, ImageInstance, Item, Options, Tensors


@dataclass(frozen=True)
class RunningModel:
    """A pulled model that answers photos."""

    folder: Path
    pulled: Pulled
    task: Task
    runtime: NetworkRuntime

    def item(self, photo: bytes) -> Item:
        (item,) = self.task.preprocess([ImageInstance(photo)], ["instances[0]"])
        assert isinstance(item, Item), item
        return item

    def alone(self, item: Item) -> Tensors:
        return self.task.split(self.runtime.run(self.task.collate([item])[0]), [item])[0]

    def answer(self, photo: bytes, options: Options = Options()) -> Answer:  # noqa: B008 - frozen
        item = self.item(photo)
        return self.task.postprocess(self.alone(item), item, options)


def pulled_here(
    make: Callable[[Path], Path],
    folder: Path,
    home: Path,
    given: Given = Given(),  # noqa: B008 - frozen
    name: str = "",
) -> RunningModel:
    """Writes a repository into `folder`, unless it exists, and pulls it."""
    if not folder.exists():
        folder.mkdir()
        make(folder)
    with mock.patch("service.references.pull.library_answers", lambda _, asked: answer(asked)):
        pulled = pull_reference(parse_reference(f"local:{folder}"), home, name=name, given=given)
    runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")
    return RunningModel(folder, pulled, task_for(pulled.card, pulled.files), runtime)


def photo(name: str) -> bytes:
    """A shipped photo, as read from its file."""
    return golden_path(name).read_bytes()


def edges(box: dict[str, int]) -> NDArray[np.float64]:
    """The box of a pipeline."""
    return np.array([box["xmin"], box["ymin"], box["xmax"], box["ymax"]], np.float64)
