"""Weights of TensorFlow.js are read as they are written; a manifest that claims anything else than its files have is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_zoo import strict_json
from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed
from model_zoo.formats.convert import convert
from model_zoo.formats.tfjs import arrays_of, state_dict_of
from model_zoo.materialised import Materialised
from model_zoo.network import build_network, load_network

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((3, 3, 2, 5)).astype(np.float32)
BIAS = RNG.standard_normal(5).astype(np.float32)


def entry(name: str, array: np.ndarray, dtype: str = "float32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "dtype": dtype, **more}


def manifest(*weights: dict[str, Any], paths: list[str] | None = None) -> bytes:
    groups = [{"paths": ["a.bin"] if paths is None else paths, "weights": list(weights)}]
    return strict_json.text({"format": "layers-model", "modelTopology": {}, "weightsManifest": groups}).encode()


def test_weights_follow_each_other_in_the_order_of_the_manifest() -> None:
    found = arrays_of(
        manifest(entry("conv/kernel", KERNEL), entry("conv/bias", BIAS)), {"a.bin": KERNEL.tobytes() + BIAS.tobytes()}
    )
    assert [*found] == ["conv/kernel", "conv/bias"]
    np.testing.assert_array_equal(found["conv/kernel"], KERNEL)
    np.testing.assert_array_equal(found["conv/bias"], BIAS)


def test_group_of_several_files_is_one_stream_of_numbers() -> None:
    content = KERNEL.tobytes()
    found = arrays_of(
        manifest(entry("k", KERNEL), paths=["x/s1.bin", "s2.bin"]), {"s1.bin": content[:7], "s2.bin": content[7:]}
    )
    np.testing.assert_array_equal(found["k"], KERNEL)


def test_weights_of_fewer_bits_are_what_they_stand_for() -> None:
    halves, bytes_ = KERNEL.astype("<f2"), np.arange(6, dtype=np.uint8)
    words, counts = np.array([0, 40_000], "<u2"), np.array([3, 5], np.uint8)
    found = arrays_of(
        manifest(
            entry("half", halves, quantization={"dtype": "float16"}),
            entry("byte", bytes_, quantization={"dtype": "uint8", "scale": 0.5, "min": -1.0}),
            entry("word", words, quantization={"dtype": "uint16", "scale": 0.25, "min": 2}),
            entry("count", counts, "int32", quantization={"dtype": "uint8", "scale": 2.0, "min": -3.0}),
            entry("flag", counts[:1], "bool"),
            entry("whole", np.zeros(1), "int32"),
            entry("none", np.zeros((0, 4))),
            entry("scalar", np.zeros(())),
        ),
        {
            "a.bin": b"".join(
                part.tobytes()
                for part in (
                    halves,
                    bytes_,
                    words,
                    counts,
                    np.ones(1, np.uint8),
                    np.array([-7], "<i4"),
                    np.float32(2.5),
                )
            )
        },
    )
    np.testing.assert_array_equal(found["half"], halves.astype(np.float32))
    np.testing.assert_array_equal(found["byte"], np.arange(6, dtype=np.float32) * 0.5 - 1.0)
    np.testing.assert_array_equal(found["word"], np.array([2.0, 10_002.0], np.float32))
    assert found["count"].tolist() == [3, 7]
    assert found["count"].dtype == np.int32
    assert found["flag"].tolist() == [True]
    assert found["whole"].tolist() == [-7]
    assert found["none"].shape == (0, 4)
    assert float(found["scalar"]) == 2.5
    assert all(found[name].dtype == np.float32 for name in ("half", "byte", "word", "scalar"))


def test_convolutions_and_dense_layers_get_torchs_names_and_layout() -> None:
    table, depthwise = (
        RNG.standard_normal((2, 3)).astype(np.float32),
        RNG.standard_normal((3, 3, 2, 2)).astype(np.float32),
    )
    parts = {
        "block/conv/kernel": KERNEL,
        "block/conv/bias": BIAS,
        "dense/kernel": table,
        "each/depthwise_kernel": depthwise,
        "own": BIAS,
    }
    state = state_dict_of(
        manifest(*(entry(name, array) for name, array in parts.items())),
        {"a.bin": b"".join(array.tobytes() for array in parts.values())},
    )
    assert [*state] == ["block.conv.weight", "block.conv.bias", "dense.weight", "each.weight", "own"]
    image = torch.from_numpy(RNG.standard_normal((1, 2, 6, 7)).astype(np.float32))
    found = torch.nn.functional.conv2d(image, state["block.conv.weight"])[0, :, 0, 0].numpy()
    expected = np.einsum("chw,hwco->o", image[0, :, :3, :3].numpy(), KERNEL)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    each = torch.nn.functional.conv2d(image, state["each.weight"], groups=2)[0, :, 0, 0].numpy()
    np.testing.assert_allclose(
        each, np.einsum("chw,hwcm->cm", image[0, :, :3, :3].numpy(), depthwise).ravel(), atol=1e-5
    )
    np.testing.assert_array_equal(state["dense.weight"].numpy(), table.T)


HUGE = {"name": "k", "shape": [1 << 30, 1 << 30], "dtype": "float32"}
WRONG: dict[str, tuple[bytes, dict[str, bytes], str]] = {
    "no JSON": (b"\x00", {}, "Expecting value"),
    "no object": (b"[]", {}, "no list weightsManifest"),
    "no manifest": (b"{}", {}, "no list weightsManifest"),
    "no paths": (b'{"weightsManifest": [{"weights": []}]}', {}, "no list of paths"),
    "no weights": (b'{"weightsManifest": [{"paths": []}]}', {}, "no list of at most"),
    "a missing file": (manifest(entry("k", KERNEL)), {"b.bin": KERNEL.tobytes()}, "which is not there"),
    "a file twice": (manifest(entry("k", BIAS), paths=["a.bin", "a.bin"]), {"a.bin": BIAS.tobytes()}, "twice"),
    "a file that is too short": (manifest(entry("k", KERNEL)), {"a.bin": KERNEL.tobytes()[:-1]}, "describes 360 bytes"),
    "a file that is too long": (manifest(entry("k", BIAS)), {"a.bin": BIAS.tobytes() + b"0"}, "its files have 21"),
    "more memory than there is": (manifest(HUGE), {"a.bin": b"1234"}, "describes"),
    "a name twice": (manifest(entry("k", BIAS), entry("k", BIAS)), {"a.bin": BIAS.tobytes() * 2}, "two weights"),
    "no name": (manifest({"shape": [], "dtype": "float32"}), {"a.bin": b"1234"}, "no name"),
    "no shape": (manifest({"name": "k", "dtype": "float32"}), {"a.bin": b"1234"}, "no shape"),
    "a negative size": (manifest({"name": "k", "shape": [-1, -1], "dtype": "float32"}), {"a.bin": b"1234"}, "no shape"),
    "a size that is no number": (
        manifest({"name": "k", "shape": [True], "dtype": "float32"}),
        {"a.bin": b"1"},
        "no shape",
    ),
    "texts": (manifest(entry("k", BIAS, "string")), {"a.bin": BIAS.tobytes()}, "not of the datatypes"),
    "a weight that is no object": (manifest(3), {"a.bin": b""}, "no object"),  # type: ignore[arg-type]
    "an unknown way to store": (
        manifest(entry("k", BIAS, quantization={"dtype": "int4", "scale": 1.0})),
        {"a.bin": b"12345"},
        "is not known",
    ),
    "no scale": (manifest(entry("k", BIAS, quantization={"dtype": "uint8"})), {"a.bin": b"12345"}, "no scale and min"),
}


@pytest.mark.parametrize("what", WRONG)
def test_manifest_that_is_wrong_is_refused(what: str) -> None:
    document, files, reason = WRONG[what]
    with pytest.raises(ValueError, match=reason):
        arrays_of(document, files)


def test_names_that_become_one_in_torch_are_refused() -> None:
    content = {"a.bin": BIAS.tobytes() * 2}
    with pytest.raises(ValueError, match="in torch"):
        state_dict_of(manifest(entry("n/beta", BIAS), entry("n/bias", BIAS)), content)


def test_card_of_layers_is_converted_and_its_network_answers_as_before(tmp_path: Path) -> None:
    shipped = Catalog.from_package().get("esrgan_slim_x4")
    small = {"blocks": 1, "layers": 2, "growth": 2, "features": 4, "scale": 2}
    architecture = shipped.architecture.model_copy(update={"arguments": small})
    card = shipped.model_copy(update={"architecture": architecture})
    torch.manual_seed(0)
    network = build_network(card).eval()
    entries, content = [], b""
    for name, tensor in network.backbone.state_dict().items():
        layer, _, kind = name.rpartition(".")
        array = tensor.numpy().transpose(2, 3, 1, 0) if kind == "weight" else tensor.numpy()
        entries.append(entry(f"{layer}/{'kernel' if kind == 'weight' else kind}", array))
        content += array.tobytes()
    document = manifest(*entries, paths=["group1-shard1of1.bin"])
    roles = convert(card, {"weights": content, "manifest": document}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert roles == {"weights": "model.safetensors"}
    again = load_network(card, Materialised(tmp_path, tmp_path / "model.safetensors", {}, ""))
    pixels = torch.randint(0, 256, (1, 4, 5, 3), dtype=torch.uint8)
    assert torch.equal(again(pixels=pixels)["image"], network(pixels=pixels)["image"])
    with pytest.raises(ConversionFailed, match="cannot be read as tfjs_layers"):
        convert(card, {"weights": content[:-4], "manifest": document}, tmp_path)
