"""Keras weights are converted to torch's layout, and files that refer to other files are rejected."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from model_zoo.errors import ConversionFailed
from model_zoo.formats.convert import convert
from model_zoo.formats.keras_h5 import state_dict_of
from tests.support.model_zoo.local_index import make_card

Array = np.ndarray[Any, Any]
INPUTS, UNITS = 3, 5


def written(fill: Callable[[h5py.File], object]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def layer(file: h5py.File, name: str, **arrays: Array) -> None:
    for key, array in arrays.items():
        file.create_dataset(f"{name}/{name}/{key}:0", data=array)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def keras_from_cudnn(kernel: Array, recurrent: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Keras's conversion of CuDNN weights for its own layer (`preprocess_weights_for_loading`)."""
    kernels = [gate.T.reshape(gate.shape, order="F") for gate in np.hsplit(kernel, 4)]
    recurrents = [gate.T for gate in np.hsplit(recurrent, 4)]
    return np.hstack(kernels), np.hstack(recurrents), np.sum(np.split(bias, 2), axis=0)


def keras_lstm(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Keras's layer, step by step: (T, in) → (T, units)."""
    h, c, out = np.zeros(UNITS), np.zeros(UNITS), []
    for step in x:
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.array(out)


def test_recurrent_layer_computes_the_output_of_keras() -> None:
    rng = np.random.default_rng(0)
    kernel, recurrent = rng.standard_normal((INPUTS, 4 * UNITS)), rng.standard_normal((UNITS, 4 * UNITS))
    bias, x = rng.standard_normal(8 * UNITS), rng.standard_normal((7, INPUTS))
    content = written(lambda file: layer(file, "rnn_1", kernel=kernel, recurrent_kernel=recurrent, bias=bias))
    state = {name.removeprefix("rnn_1."): tensor for name, tensor in state_dict_of(content).items()}
    lstm = nn.LSTM(INPUTS, UNITS, batch_first=True).double()
    lstm.load_state_dict(state)
    ours = lstm(torch.from_numpy(x)[None])[0][0].detach().numpy()
    np.testing.assert_allclose(ours, keras_lstm(x, *keras_from_cudnn(kernel, recurrent, bias)), atol=1e-12)


def test_other_layers_get_names_and_layout_of_torch() -> None:
    rng = np.random.default_rng(1)
    kernel, table, own = rng.standard_normal((4, 2)), rng.standard_normal((6, 4)), rng.standard_normal((4, 1))

    def fill(file: h5py.File) -> None:
        layer(file, "output", kernel=kernel, bias=np.ones(2))
        layer(file, "embedding", embeddings=table)
        layer(file, "attention", attention_W=own)
        file.create_group("input")

    state = state_dict_of(written(fill))
    assert state.keys() == {"output.weight", "output.bias", "embedding.weight", "attention.attention_W"}
    np.testing.assert_array_equal(state["output.weight"].numpy(), kernel.T)
    np.testing.assert_array_equal(state["embedding.weight"].numpy(), table)
    np.testing.assert_array_equal(state["attention.attention_W"].numpy(), own)


def elsewhere(tmp_path: Path) -> dict[str, Callable[[h5py.File], object]]:
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(4, np.float32).tobytes())
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(4, np.float32)
    virtual = h5py.VirtualLayout((4,), np.float32)
    virtual[:] = h5py.VirtualSource(str(other), "x", (4,))
    return {
        "stored in another file": lambda file: file.create_dataset(
            "a/a/kernel:0", (4,), np.float32, external=[(str(secret), 0, 16)]
        ),
        "made of another file": lambda file: file.create_virtual_dataset("a/a/kernel:0", virtual),
        "a bomb": lambda file: file.create_dataset(
            "a/a/kernel:0", (1 << 30,), np.float32, chunks=(1 << 20,), compression="gzip"
        ),
    }


@pytest.mark.parametrize("what", ["stored in another file", "made of another file", "a bomb"])
def test_data_outside_of_the_file_is_rejected(tmp_path: Path, what: str) -> None:
    content = written(elsewhere(tmp_path)[what])
    with pytest.raises(ValueError, match=r"another file|more bytes"):
        state_dict_of(content)
    card = make_card(b"wheel", content, weights={"format": "keras_h5", "mapping": "by_name"})
    with pytest.raises(ConversionFailed, match="cannot be read as keras_h5 without running code from it"):
        convert(card, {"weights": content}, tmp_path)


def test_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.ones(4, np.float32)

    def fill(file: h5py.File) -> None:
        file["a"] = h5py.ExternalLink(str(other), "x")

    assert state_dict_of(written(fill)) == {}


@pytest.mark.parametrize("content", [b"no such file", written(lambda file: None)[:200]])
def test_file_that_is_not_hdf5_is_rejected(tmp_path: Path, content: bytes) -> None:
    card = make_card(b"wheel", content, weights={"format": "keras_h5", "mapping": "by_name"})
    with pytest.raises(ConversionFailed, match="cannot be read as keras_h5"):
        convert(card, {"weights": content}, tmp_path)


def test_recurrent_layer_of_another_layout_is_rejected() -> None:
    content = written(
        lambda file: layer(file, "rnn", kernel=np.ones((3, 20)), recurrent_kernel=np.ones((5, 20)), bias=np.ones(20))
    )
    with pytest.raises(ValueError, match="layout of CuDNN"):
        state_dict_of(content)
