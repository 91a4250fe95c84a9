"""The process that compiles a network: `python -m service.runtime.compilers.compile_worker`, started by `compiler.py` alone.

A line of JSON comes on standard input (see `CompileRequest`) and one goes out on standard output: `{"inputs": …, "outputs": …}`
or `{"reason": "one sentence"}`. Standard error is a log. Standard input stays open as long as the server lives: when it ends,
this process and the compilers that it started end too. The process has the lowest priority (nice 19).
"""

from __future__ import annotations

import os
import sys
import traceback
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from service.observability.standard_streams import protect
from service.processes import end_with_parent
from service.runtime.compilers.compiled_cache import LIBRARY, CompileRequest
from service.runtime.compilers.packed_convolutions import PackConvolutions
from service.runtime.network import in_memory_format
from service.runtime.precision import fold_batch_norms, in_precision
from service.types import DTYPES

ROWS, LENGTH = 4, 12
"""Of the example that is traced. torch.export treats sizes of 0 and 1 as constants."""


OPTIONS: dict[str, Any] = {
    "freezing": True,  # weights are constants: batch norms are folded into them, and they are packed for the kernels
    "aot_inductor.precompile_headers": False,  # is faster only from the second network of a process on
    "post_grad_custom_pre_pass": PackConvolutions(),
}


class CompilationFailed(Exception):
    """The network cannot be compiled. The text is the reason for the client, in one sentence."""


def compile_network(request: CompileRequest) -> dict[str, list[str]]:
    """Write the library into the staging folder; returns the names of its inputs and outputs in order. Raises
    CompilationFailed."""
    torch.set_num_threads(request.threads)  # the code is specific to their number
    card, weights = Card.model_validate(request.card), Path(request.weights)
    loaded = load_network(card, Materialised(weights.parent, weights, {}, ""))
    if request.precision != "fp32":
        fold_batch_norms(loaded, example(card))
    network = in_precision(loaded, request.precision).to(memory_format=torch.channels_last)
    names = [spec.name for spec in card.signature.inputs]
    archive = Path(request.staging) / "network.pt2"
    with torch.inference_mode():
        try:
            program = torch.export.export(_Positional(network, names), (*example(card).values(),), **shapes(card))
        except Exception as error:
            traceback.print_exc()
            raise CompilationFailed("the network cannot be exported with batches of varying shape") from error
        outputs = list(program.module()(*example(card).values()))
        try:
            torch._inductor.aoti_compile_and_package(program, package_path=str(archive), inductor_configs=dict(OPTIONS))
        except Exception as error:
            traceback.print_exc()
            raise CompilationFailed("the compiler failed on the network") from error
    _unpack(archive, Path(request.staging) / LIBRARY)
    return {"inputs": names, "outputs": outputs}


class _Positional(nn.Module):
    """A network with positional inputs, as compiled code takes them."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs: dict[str, torch.Tensor] = self.network(**dict(zip(self.names, tensors, strict=True)))
        return outputs


def example(card: Card) -> dict[str, torch.Tensor]:
    """A small batch in which every varying axis is longer than 1."""
    rows = min(ROWS, card.batching.max_batch_size)
    length = LENGTH * _step(card)
    tensors = {}
    for spec in card.signature.inputs:
        shape = [rows, *(length if size < 0 else size for size in spec.shape[1:])]
        tensors[spec.name] = in_memory_format(torch.from_numpy(np.ones(shape, DTYPES[spec.datatype])))
    return tensors


def shapes(card: Card) -> dict[str, Any]:
    """The varying axes, from 1 to the maximum of the card; the others are constant."""
    batching = card.batching
    rows = Dim("rows", min=1, max=batching.max_batch_size) if batching.max_batch_size > 1 else None
    length: Any = None
    if batching.max_length is not None:
        step = _step(card)
        length = Dim("length", min=1, max=batching.max_length // step)
        length = length * step if step > 1 else length
    axes = [
        {axis: length if axis else rows for axis, size in enumerate(spec.shape) if size < 0 and (axis or rows)}
        for spec in card.signature.inputs
    ]
    return {"dynamic_shapes": {"tensors": tuple(axes)}}


def _step(card: Card) -> int:
    """All lengths are multiples of this."""
    return card.recipe.frame_samples if isinstance(card.recipe, AudioRecipe) else 1


def _unpack(archive: Path, library: Path) -> None:
    """Copy the library out of the archive. Raises CompilationFailed if the code needs other files to run."""
    with zipfile.ZipFile(archive) as packed:
        files = packed.namelist()
        if any("extern_kernel_nodes" in name for name in files):
            raise CompilationFailed("the network has operations that compiled code cannot call")
        (found,) = [name for name in files if name.endswith(".so")]
        with packed.open(found) as source, library.open("wb") as target:
            while piece := source.read(1 << 20):
                target.write(piece)


def main() -> None:
    """The process of the worker. The exit code is 0 also if the network cannot be compiled."""
    os.nice(19)
    line = sys.stdin.buffer.raw.readline()  # type: ignore[union-attr]  # unbuffered: `end_with_parent` reads the rest
    request = CompileRequest(**strict_json.read(line))
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # the output of libraries goes to the log
    protect()  # a log on a full disk loses the output
    try:
        answer: dict[str, Any] = dict(compile_network(request))
    except CompilationFailed as failed:
        answer = {"reason": str(failed)}
    except Exception:
        traceback.print_exc()
        answer = {"reason": "compiling the network failed"}
    answers.write(strict_json.text(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
