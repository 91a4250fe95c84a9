"""Opens the network of an ONNX card, after its files were compared with the digests on the card."""

from __future__ import annotations

from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.errors import ConversionFailed, DigestMismatch
from model_zoo.materialised import Materialised
from model_zoo.sources.digest import check_file
from service.errors import NotReady
from service.runtime.onnx_session import OnnxRuntime

BUILDER = "onnx"
"""`architecture.builder` of a card whose network ONNX Runtime runs."""


def is_onnx(card: Card) -> bool:
    """Whether ONNX Runtime runs the network of a card."""
    return card.architecture.builder == BUILDER


def open_network(card: Card, files: Materialised, device: str, threads: int) -> OnnxRuntime:
    """The network of a card, ready to run.

    Raises:
        DigestMismatch: a file is not the one that was pulled; it has been removed.
        ConversionFailed: ONNX Runtime cannot read the file.
        NotReady: ONNX Runtime is not installed.
    """
    for role, file in card.source.files.items():
        stored = files.weights if role == "weights" else files.files[role]
        _check(stored, file.sha256, f"{card.name}/{Path(file.path).name}")
    try:
        return OnnxRuntime(files.weights, device, threads, names=card.architecture.graph_names)
    except ImportError as error:
        raise NotReady("the package onnxruntime is not installed on the server") from error
    except Exception as error:
        raise ConversionFailed(card.name, "ONNX Runtime cannot read the file") from error


def check_precision(precision: str | None) -> None:
    """Raises NotReady for a precision other than that of the file."""
    if precision not in (None, "auto", "fp32"):
        raise NotReady(f"it cannot run in {precision}: an ONNX network runs in the number formats of its file")


def _check(path: Path, sha256: str, name: str) -> None:
    try:
        check_file(path, sha256, name)
    except OSError as error:
        raise DigestMismatch(name, sha256, "none, since it cannot be read") from error
