"""Classes of images by torchvision: its own file, network and transform."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from model_zoo.references.torchvision.published import network_name
from service.references.comparison.pictures import decoded_pictures, sampled
from service.references.library_request import LibraryRequest


def torchvision_classes(request: LibraryRequest, raw: Sequence[Any]) -> list[Any]:
    """Probabilities of all classes, for each photo; then the pictures, if they are asked for."""
    import torch
    from torchvision import models

    weights: Any = models.get_weight(request.published)
    with _fetched(Path(request.folder), str(weights.url).rpartition("/")[2]):
        network: Any = models.get_model(network_name(weights), weights=weights).eval()
    transform = weights.transforms()
    with torch.inference_mode():
        found = [torch.softmax(network(transform(image).unsqueeze(0))[0], dim=-1).tolist() for image in raw]
    return [*found, *(sampled(transform(image)) for image in decoded_pictures() if request.pictures)]


@contextmanager
def _fetched(folder: Path, name: str) -> Iterator[None]:
    """torch.hub has fetched the file already, and unpickles no code from it."""
    import torch

    before = torch.hub.get_dir()
    with (
        tempfile.TemporaryDirectory(prefix="zoo-") as hub,
        mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"),
    ):
        (Path(hub) / "checkpoints").mkdir()
        (Path(hub) / "checkpoints" / name).symlink_to((folder / name).resolve())
        torch.hub.set_dir(hub)
        try:
            yield
        finally:
            torch.hub.set_dir(before)
