"""The network that every peer runs: the zoo's, from the same safetensors, eager and fp32, in the best memory format.

The module imports torch and `model_zoo` only, so that it loads in the process of any peer. The peer makes the batches; this
module pads texts of different lengths to a batch, since every user of a peer would write the same lines.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_zoo.cards.recipes import TextRecipe
from model_zoo.catalog import Catalog
from model_zoo.network import load_network
from model_zoo.store import Store

Row = dict[str, NDArray[Any]]
"""One row of the network's own tensors, without the rows axis."""


class PeerNetwork:
    """The tokeniser of a model and its batches; a subclass runs them."""

    def __init__(self, model: str, home: Path, threads: int) -> None:
        """`threads`: torch threads of this process."""
        torch.set_num_threads(threads)
        _keep_freed_memory()
        self.card = card = Catalog.from_package().get(model)
        found = Store(home).find(card)
        if found is None:
            raise RuntimeError(f"the weights of {model} are missing")
        self.found = found
        self.inputs = {spec.name: (spec.datatype, tuple(spec.shape[1:])) for spec in card.signature.inputs}
        self.output = card.signature.outputs[0].name
        self._ragged = card.batching.length_of is not None
        self._tokenizer: Tokenizer | None = None
        if isinstance(card.recipe, TextRecipe):
            self._tokenizer = Tokenizer.from_file(str(found.files["tokenizer"]))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(card.recipe.max_tokens)

    def tokenise(self, texts: Sequence[str]) -> list[Row]:
        """Texts → rows of `input_ids` and `attention_mask`, int64 `[tokens]`."""
        assert self._tokenizer is not None
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        ids = [np.array(encoding.ids, np.int64) for encoding in encodings]
        first, second = self.inputs
        return [{first: row, second: np.ones_like(row)} for row in ids]

    def run(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Rows → the output `[rows, …]`, in one batch."""
        raise NotImplementedError

    def batch(self, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
        """Rows → one batch; zeros pad the rows that are shorter than the longest."""
        return {name: self._stack([row[name] for row in rows]) for name in self.inputs}

    def _stack(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        if not self._ragged:
            return np.stack(arrays)
        batch = np.zeros((len(arrays), max(len(array) for array in arrays)), arrays[0].dtype)
        for i, array in enumerate(arrays):
            batch[i, : len(array)] = array
        return batch


class EagerNetwork(PeerNetwork):
    """The network in torch, operation by operation."""

    def __init__(self, model: str, home: Path, threads: int) -> None:
        super().__init__(model, home, threads)
        self._network = load_network(self.card, self.found).to(memory_format=torch.channels_last)

    def run(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Rows → the output `[rows, …]`, in one batch."""
        tensors = {name: _tensor(array) for name, array in self.batch(rows).items()}
        with torch.inference_mode():
            array: NDArray[np.float32] = self._network(**tensors)[self.output].numpy()
            return array


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _keep_freed_memory() -> None:
    """The allocator settings of Zoo (service/runtime/allocator.py), so that no peer has page faults that Zoo avoids."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for option, value in ((-3, 1 << 30), (-1, 1 << 30), (-8, 1)):
            library.mallopt(option, value)
