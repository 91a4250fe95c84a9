"""A compiled network is tried out in the worker before the server gets it."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from service.runtime.compilers import compile_worker as module
from service.runtime.compilers import openvino
from service.runtime.compilers.compilation_spec import CompileRequest
from service.runtime.compilers.compile_worker import LENGTH, ROWS, CompilationFailed, axes, example
from service.runtime.compilers.compiled_cache import CompiledPackage
from tests.support.model_zoo.tiny_model import WIDTH, tiny_card

CARD = tiny_card()
MOST = CARD.batching.max_batch_size
PACKAGE = CompiledPackage(Path("/nowhere"), {}, ("input_ids", "attention_mask"), ("embedding",), 0.0)
REQUEST = CompileRequest({}, "", "fp32", 1, "", "openvino")


class Network:
    """In place of a compiled network; `wrong` says what it does with a batch of rows and length."""

    def __init__(self, wrong: Any) -> None:
        self.wrong = wrong
        self.shapes: list[tuple[int, ...]] = []

    def run(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows, length = tensors["input_ids"].shape
        self.shapes.append((rows, length))
        return {"embedding": np.zeros((self.wrong(rows, length), WIDTH), np.float32)}


def tried(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> Network:
    network = Network(wrong)
    monkeypatch.setattr(openvino, "OpenVinoRuntime", lambda *_: network)
    module._try_out(PACKAGE, REQUEST, CARD)
    return network


def test_network_runs_at_other_sizes_than_the_traced_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = tried(monkeypatch, lambda rows, length: rows).shapes
    assert {rows for rows, _ in shapes} >= {1, MOST}
    assert {length for _, length in shapes} >= {1, 2 * LENGTH}
    assert (ROWS, LENGTH) not in shapes


def test_network_that_fails_at_another_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(rows: int, length: int) -> int:
        if length > LENGTH + 1:
            raise RuntimeError("shapes differ")
        return rows

    with pytest.raises(CompilationFailed, match="does not run with batches of varying shape"):
        tried(monkeypatch, fails)


def test_network_that_loses_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompilationFailed, match="another number of rows than it gets"):
        tried(monkeypatch, lambda rows, length: 1)


def test_network_that_takes_long_to_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((100.0, 100.0 + module.MOST_LOAD_S + 3))
    monkeypatch.setattr(module.time, "process_time", lambda: next(times))
    with pytest.raises(CompilationFailed, match=r"every load would compute for 8 s; at most 5 s may"):
        tried(monkeypatch, lambda rows, length: rows)


def test_examples_keep_to_the_sizes_of_the_card() -> None:
    largest = example(CARD, 10_000, 10_000)["input_ids"].shape
    assert tuple(largest) == (MOST, CARD.batching.max_length)
    assert axes(CARD)[0] == [(1, MOST), (1, CARD.batching.max_length)]


@pytest.mark.parametrize(
    ("error", "reason", "lasting"),
    [
        (ImportError("x"), "the package openvino cannot be imported on this machine; install it again", False),
        (
            ImportError("x", name="nncf.x"),
            "the package nncf cannot be imported on this machine; install it again",
            False,
        ),
        (RuntimeError("unknown operation"), "the compiler failed on the network", True),
        (RuntimeError("not enough memory"), "the compiler failed on the network", False),
        (OSError("disk full"), "the compiler failed on the network", False),
        (MemoryError(), "the compiler failed on the network", False),
    ],
)
def test_reason_of_a_failed_compilation_tells_the_compiler_from_the_network(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, lasting: bool
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setitem(module._WRITE, "openvino", fails)
    with pytest.raises(CompilationFailed, match=reason) as raised:
        module._write(cast(Any, None), REQUEST, CARD, ())
    assert raised.value.lasting == lasting
