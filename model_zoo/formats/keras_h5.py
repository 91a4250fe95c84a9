"""Weights of a Keras network in an HDF5 file → a state dict in torch's layout.

HDF5 is a container of named arrays; h5py reads them without running code. Links to other files and data that are stored outside
of the file are refused. Keras stores the weights of a layer under ``layer/layer/name:0``, a dense kernel as (in, out), and the
weights of CuDNN layers in the layout of that library: for each of the gates input, forget, cell, output the numbers of the
kernel row by row as (units, in), recurrent kernels as (units, units) to be multiplied from the left, and two biases, as torch
does (keras, ``preprocess_weights_for_loading``).
"""

import io

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["state_dict_of"]

_GATES = 4
_PLAIN = {"embeddings": "weight", "gamma": "weight", "beta": "bias"}


def state_dict_of(content: bytes) -> dict[str, torch.Tensor]:
    """Tensors by ``layer.name``, with torch's names for dense, embedding and recurrent layers; other layers keep their names.

    Raises:
        ValueError: data is stored outside of the file, or claims more bytes than the file has.
        OSError: it is not an HDF5 file, or a damaged one.
    """
    layers: dict[str, dict[str, NDArray[np.float32]]] = {}
    with h5py.File(io.BytesIO(content), "r") as file:

        def visit(path: str, node: object) -> None:  # h5py follows hard links only here
            if not isinstance(node, h5py.Dataset):
                return
            if node.is_virtual or node.external is not None:
                raise ValueError(f"{path} is stored in another file")
            if node.nbytes > len(content):  # weights compress little
                raise ValueError(f"{path} claims more bytes than the file has")
            layer, _, name = path.rpartition("/")
            layers.setdefault(layer.rpartition("/")[2], {})[name.partition(":")[0]] = np.asarray(node[()])

        file.visititems(visit)
    state: dict[str, torch.Tensor] = {}
    for layer, arrays in layers.items():
        converted = _recurrent(arrays) if "recurrent_kernel" in arrays else _plain(arrays)
        state |= {f"{layer}.{name}": torch.from_numpy(np.array(array)) for name, array in converted.items()}
    return state


def _plain(arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    converted = {}
    for name, array in arrays.items():
        if name == "kernel" and array.ndim == 2:
            converted["weight"] = array.T
        else:
            converted[_PLAIN.get(name, name)] = array
    return converted


def _recurrent(arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """A CuDNN LSTM. The order of its gates is that of torch."""
    kernel, recurrent, bias = arrays["kernel"], arrays["recurrent_kernel"], arrays["bias"]
    inputs, units = kernel.shape[0], recurrent.shape[0]
    if bias.shape != (2 * _GATES * units,):
        raise ValueError("the recurrent layer is not in the layout of CuDNN")
    from_input = [gate.reshape(units, inputs) for gate in np.split(kernel, _GATES, axis=1)]
    return {
        "weight_ih_l0": np.concatenate(from_input),  # (4 units, in)
        "weight_hh_l0": np.concatenate(np.split(recurrent, _GATES, axis=1)),  # (4 units, units)
        "bias_ih_l0": bias[: _GATES * units],
        "bias_hh_l0": bias[_GATES * units :],
    }
