"""Files in the layout of the library that wrote them → the state dict of its network, read by the library itself.

The library knows its own history: names that were changed since, tensors that are tied, weights in several files. It reads
safetensors only, runs no code of the files, and fetches nothing.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from model_zoo.cards.card import Card
from model_zoo.errors import ConversionFailed
from model_zoo.formats.adapters import ADAPTER, AdapterUnfit, merged
from model_zoo.formats.shared_tensors import tied_names, without_views

__all__ = ["state_dict_of"]


def state_dict_of(card: Card, contents: Mapping[str, bytes], scratch: Path) -> dict[str, torch.Tensor]:
    """All tensors of the network, float32 where they are floating-point numbers.

    Args:
        card: of an architecture of transformers.
        contents: the files by role, under the paths on the card.
        scratch: a folder on a disk with room for the files.

    Raises:
        ConversionFailed: the files do not fit the configuration; the first tensors are named.
    """
    from model_zoo.architectures import transformers_auto

    with tempfile.TemporaryDirectory(prefix=".staging-source-", dir=scratch) as folder:
        for role in contents:
            path = Path(folder) / card.source.files[role].path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[role])
        try:
            root = Path(folder) / Path(card.source.files["weights"].path).parent
            network, problems = transformers_auto.read(card.architecture.arguments, root)
            if ADAPTER in contents:
                network, given = merged(network, (Path(folder) / card.source.files[ADAPTER].path).parent)
                problems = {name: problem for name, problem in problems.items() if name not in given}
        except AdapterUnfit as error:
            raise ConversionFailed(card.name, str(error)) from error
        except Exception as error:  # a library may raise nearly any exception on a damaged file
            reason = f"the library cannot read the files by their configuration ({type(error).__name__})"
            raise ConversionFailed(card.name, reason) from error
    if problems:
        first = "; ".join(list(problems.values())[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ConversionFailed(card.name, f"its files do not fit its configuration: {first}{more}")
    return without_views(_stored_once(network, card))


def _stored_once(network: torch.nn.Module, card: Card) -> dict[str, torch.Tensor]:
    """The tensors of a network, without further names of those that every network of the card has under several."""
    from model_zoo.architectures import transformers_auto

    with torch.device("meta"):
        usual = tied_names(transformers_auto.build(card.architecture.arguments))
    here = tied_names(network)  # a file may hold two tensors where the configuration ties them
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if name not in here or here[name] != usual.get(name)
    }
