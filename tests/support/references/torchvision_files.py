"""Weights of a small network of torchvision, as its makers publish them, on a web server of the test."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torchvision import models

from model_zoo.sources.url import MIRROR, TORCHVISION_HOST
from tests.support.model_zoo.web_files import WebFiles

WEIGHTS = "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"


def network(name: str, **arguments: Any) -> torch.nn.Module:
    """A network with weights by a seed. Its batch normalisation has seen images, so that features differ from photo to photo."""
    torch.manual_seed(7)
    made: torch.nn.Module = models.get_model(name, weights=None, **arguments)
    norms = [module for module in made.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # their mean over all that was seen
    if norms:
        with torch.no_grad():
            made.train()(torch.nn.functional.interpolate(torch.randn(8, 3, 5, 5), size=96, mode="bicubic"))
    return made.eval()


def saved(state: Mapping[str, Any]) -> bytes:
    """A checkpoint of torch."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def publish(content: bytes, web: WebFiles, patch: pytest.MonkeyPatch, digest: str = "") -> str:
    """Puts a file in the place of that of `WEIGHTS`, on a mirror. Returns its path there."""
    digits = digest or hashlib.sha256(content).hexdigest()[:8]
    path = f"models/shufflenet-{digits}.pth"
    patch.setattr(models.get_weight(WEIGHTS).value, "url", f"{TORCHVISION_HOST}{path}")
    patch.setenv(MIRROR, web.url)
    web.files[f"/{path}"] = content
    return f"/{path}"
