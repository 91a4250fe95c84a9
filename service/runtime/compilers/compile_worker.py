"""The process that compiles a network: `python -m service.runtime.compilers.compile_worker`, started by `compiler.py` alone.

A line of JSON comes on standard input (see `CompileRequest`) and one goes out on standard output: `{"inputs": …, "outputs": …}`
or `{"reason": "one sentence"}`. Standard error is a log. Standard input stays open as long as the server lives: when it ends,
this process and the compilers that it started end too. The process has the lowest priority (nice 19).
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe, TensorsRecipe
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from service.observability.standard_streams import protect
from service.processes import end_with_parent
from service.runtime.compilers import calibration
from service.runtime.compilers.aot_inductor import CompiledRuntime
from service.runtime.compilers.compilation_spec import CompileRequest
from service.runtime.compilers.compiled_cache import CompiledPackage
from service.runtime.compilers.compiled_manifest import LIBRARY
from service.runtime.device import DevicePlan
from service.runtime.network import Runtime, in_memory_format, with_channels_innermost
from service.runtime.precision import fold_batch_norms, in_precision
from service.types import DTYPES

ROWS, LENGTH = 4, 12
"""Of the example that is traced. torch.export treats sizes of 0 and 1 as constants."""

MOST_LOAD_S = 5.0
"""Processor time. OpenVINO compiles a network when it is loaded; a recurrent one that was unrolled takes it a minute."""


class CompilationFailed(Exception):
    """The network cannot be compiled. The text is the reason for the client, in one sentence."""

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        """`lasting`: the same compiler would fail on the network again, whatever the state of the machine."""
        super().__init__(reason)
        self.lasting = lasting


def compile_network(request: CompileRequest) -> dict[str, list[str]]:
    """Write the compiler's files into the staging folder; returns the names of the network's inputs and outputs in order. Raises
    CompilationFailed."""
    torch.set_num_threads(request.threads)  # the code is specific to their number
    card, weights = Card.model_validate(request.card), Path(request.weights)
    if card.architecture.builder == "onnx":
        return _compile_onnx(request, card, weights)
    loaded = load_network(card, Materialised(weights.parent, weights, {}, ""))
    if request.precision != "fp32":
        fold_batch_norms(loaded, example(card))
    kept = () if request.precision == "fp32" else loaded.keep_in_fp32
    # OpenVINO reduces the precision itself when it loads the network.
    reduced = loaded if request.compiler == "openvino" else in_precision(loaded, request.precision)
    network = with_channels_innermost(reduced)
    names = [spec.name for spec in card.signature.inputs]
    with torch.inference_mode():
        try:
            program = torch.export.export(_Positional(network, names), (*example(card).values(),), **shapes(card))
        except Exception as error:
            traceback.print_exc()
            raise CompilationFailed(
                "the network cannot be exported with batches of varying shape", lasting=_is_of_the_network(error)
            ) from error
        outputs = list(program.module()(*example(card).values()))
        _write(program, request, card, kept)
    _try_out(CompiledPackage(Path(request.staging), {}, tuple(names), tuple(outputs), 0.0), request, card)
    return {"inputs": names, "outputs": outputs}


def _compile_onnx(request: CompileRequest, card: Card, graph: Path) -> dict[str, list[str]]:
    """As `compile_network`, for the graph of an ONNX file. Raises CompilationFailed."""
    inputs, outputs = ([spec.name for spec in specs] for specs in (card.signature.inputs, card.signature.outputs))
    if request.compiler != "openvino" or request.precision != "fp32":
        raise CompilationFailed("ONNX files are compiled by OpenVINO and in fp32 only", lasting=True)
    if any(spec.datatype in ("FP16", "FP64") for spec in (*card.signature.inputs, *card.signature.outputs)):
        raise CompilationFailed("its inputs or outputs are in another precision than fp32", lasting=True)
    try:
        from service.runtime.compilers.openvino_conversion import convert_onnx

        inner = card.architecture.graph_names
        given, made = ([inner.get(name, name) for name in names] for names in (inputs, outputs))
        convert_onnx(graph, Path(request.staging), given, made, axes(card))
    except ImportError as error:
        raise CompilationFailed("the package openvino cannot be imported on this machine; install it again") from error
    except Exception as error:
        traceback.print_exc()
        raise CompilationFailed("the compiler failed on the network", lasting=_is_of_the_network(error)) from error
    _try_out(CompiledPackage(Path(request.staging), {}, tuple(inputs), tuple(outputs), 0.0), request, card)
    return {"inputs": inputs, "outputs": outputs}


def _write(program: ExportedProgram, request: CompileRequest, card: Card, kept: Sequence[str]) -> None:
    """Compile a program into the staging folder. Raises CompilationFailed."""
    try:
        _WRITE[request.compiler](program, request, card, kept)
    except CompilationFailed:
        raise
    except ImportError as error:
        traceback.print_exc()
        package = PACKAGES[request.compiler] if error.name is None else error.name.partition(".")[0]
        raise CompilationFailed(
            f"the package {package} cannot be imported on this machine; install it again"
        ) from error
    except Exception as error:
        traceback.print_exc()
        # AOTInductor depends on the machine's C++ compiler.
        lasting = request.compiler == "openvino" and _is_of_the_network(error)
        raise CompilationFailed("the compiler failed on the network", lasting=lasting) from error


def _is_of_the_network(error: Exception) -> bool:
    """Whether the network is the cause, and not the memory or the disk of the machine."""
    return not isinstance(error, OSError | MemoryError) and "memory" not in str(error).lower()


def _try_out(package: CompiledPackage, request: CompileRequest, card: Card) -> None:
    """Run the compiled network at other shapes than the traced one. Raises CompilationFailed.

    A network that ends its process, or that holds for the traced shape only, so does no harm to the server.
    """
    try:
        plan = DevicePlan("cpu", 1, request.threads)
        runtime: Runtime
        if request.compiler == "openvino":
            from service.runtime.compilers.openvino import OpenVinoRuntime

            began = time.process_time()
            runtime = OpenVinoRuntime(package, request.precision, plan)
            seconds = time.process_time() - began
            if seconds > MOST_LOAD_S:
                reason = f"every load would compute for {seconds:.0f} s; at most {MOST_LOAD_S:g} s may"
                raise CompilationFailed(reason, lasting=True)
        else:
            library = package.folder / LIBRARY
            runtime = CompiledRuntime(library, package.inputs, package.outputs, request.precision, plan.lanes)
        for rows, steps in ((1, LENGTH + 1), (2, 1), (card.batching.max_batch_size, 2 * LENGTH)):
            outputs = runtime.run({name: tensor.numpy() for name, tensor in example(card, rows, steps).items()})
            if any(len(output) != min(rows, card.batching.max_batch_size) for output in outputs.values()):
                raise CompilationFailed("the compiled network gives another number of rows than it gets", lasting=True)
    except RuntimeError as error:
        traceback.print_exc()
        raise CompilationFailed(
            "the compiled network does not run with batches of varying shape", lasting=_is_of_the_network(error)
        ) from error


def _by_inductor(program: ExportedProgram, request: CompileRequest, card: Card, kept: Sequence[str]) -> None:
    from service.runtime.compilers.inductor_compilation import MissingKernels, compile_program

    try:
        compile_program(program, Path(request.staging))
    except MissingKernels:
        raise CompilationFailed("the network has operations that compiled code cannot call") from None


def _by_openvino(program: ExportedProgram, request: CompileRequest, card: Card, kept: Sequence[str]) -> None:
    from service.runtime.compilers.openvino_conversion import convert

    quantise = None
    if request.calibration:
        from service.runtime.compilers.openvino_quantisation import quantise as to_int8

        names = [spec.name for spec in card.signature.inputs]
        batches = calibration.read(Path(request.staging))

        def quantise(network: Any, keep: Collection[str]) -> Any:
            return to_int8(network, names, batches, keep, transformer=card.family == "transformer")

    convert(program, Path(request.staging), axes(card), [f"network.{name}" for name in kept], quantise)


_WRITE = {"aotinductor": _by_inductor, "openvino": _by_openvino}
PACKAGES = {"aotinductor": "torch", "openvino": "openvino"}
"""Of each compiler."""


class _Positional(nn.Module):
    """A network with positional inputs, as compiled code takes them."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs: dict[str, torch.Tensor] = self.network(**dict(zip(self.names, tensors, strict=True)))
        return outputs


def example(card: Card, rows: int = ROWS, steps: int = LENGTH) -> dict[str, torch.Tensor]:
    """A small batch, by default one in which every varying axis is longer than 1; at most of the card's sizes."""
    rows = min(rows, card.batching.max_batch_size)
    length = min(steps, (_longest(card) or 1) // _step(card)) * _step(card)
    tensors = {}
    for spec in card.signature.inputs:
        shape = [rows, *(length if size < 0 else size for size in spec.shape[1:])]
        tensors[spec.name] = in_memory_format(torch.from_numpy(np.ones(shape, DTYPES[spec.datatype])))
    return tensors


def axes(card: Card) -> list[list[tuple[int, int]]]:
    """The least and the greatest size of each axis of each input."""
    batching = card.batching
    return [
        [
            (1, (_longest(card) or size) if axis else batching.max_batch_size) if size < 0 else (size, size)
            for axis, size in enumerate(spec.shape)
        ]
        for spec in card.signature.inputs
    ]


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


def _longest(card: Card) -> int | None:
    """The greatest size of axes that vary beside the rows."""
    return card.recipe.max_length if isinstance(card.recipe, TensorsRecipe) else card.batching.max_length


def _step(card: Card) -> int:
    """All lengths are multiples of this."""
    return card.recipe.frame_samples if isinstance(card.recipe, AudioRecipe) else 1


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
        answer = {"reason": str(failed), "lasting": failed.lasting}
    except Exception:
        traceback.print_exc()
        answer = {"reason": "compiling the network failed"}
    answers.write(strict_json.text(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
