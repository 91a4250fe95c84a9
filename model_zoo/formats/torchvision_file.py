"""A file of weights that torchvision publishes → the state dict of its network.

torchvision's own modules read it, since they know their history: names that were changed since, and counters of batch
normalisation that older files lack. The file is read under ``weights_only=True``.
"""

import io
import re
from collections import OrderedDict
from typing import Any

import torch

from model_zoo.architectures.torchvision_classifier import build
from model_zoo.cards.card import Card
from model_zoo.errors import ConversionFailed
from model_zoo.formats.plain_state import is_plain_state
from model_zoo.formats.shared_tensors import without_views

__all__ = ["state_dict_of"]

_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names of layers in the published files of DenseNet, whose modules have no dot there any more."""


def state_dict_of(card: Card, content: bytes) -> dict[str, torch.Tensor]:
    """All tensors of the network as it is served. Raises ConversionFailed, with the first tensors that do not fit."""
    try:
        loaded: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a parser may raise nearly any exception on a damaged file
        reason = "the file cannot be read as torch_state_dict without running code from it"
        raise ConversionFailed(card.name, reason) from error
    if not is_plain_state(loaded):
        raise ConversionFailed(card.name, "the file is not a plain dictionary of tensors")
    state = OrderedDict((_OLD_DENSE_LAYER.sub(r"\1\2", name), value) for name, value in loaded.items())
    if hasattr(loaded, "_metadata"):
        state._metadata = loaded._metadata  # type: ignore[attr-defined]  # versions of modules
    network = build(card.architecture.arguments, auxiliary=True)
    try:
        result = network.load_state_dict(state, strict=False)
    except Exception as error:  # the modules read versions from the file, which may be anything
        wrong = _other_shapes(network.state_dict(), state)
        raise ConversionFailed(card.name, f"its file does not fit its network{wrong}") from error
    for names, what in ((result.missing_keys, "lacks"), (result.unexpected_keys, "has beside the network's")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ConversionFailed(card.name, f"its file {what} {', '.join(names[:3])}{more}")
    found = network.state_dict()
    served = build(card.architecture.arguments).state_dict()
    return without_views({name: found[name] for name in served})


def _other_shapes(wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> str:
    for name, tensor in given.items():
        if name in wanted and wanted[name].shape != tensor.shape:
            return f": {name[:100]} is {list(tensor.shape)} in the file and {list(wanted[name].shape)} in the network"
    return ""
