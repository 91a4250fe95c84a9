"""Conversion changes names and not values, and rejects a state that does not fit completely."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import WeightsRecipe
from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed
from model_zoo.formats.convert import convert
from model_zoo.network import build_network
from tests.support.model_zoo.local_index import make_card
from tests.support.model_zoo.tfjs_files import tfjs_graph

State = dict[str, torch.Tensor]


def converted(state: State, folder: Path, **weights: Any) -> State:
    """Convert a state dict under a recipe, and read the written file."""
    folder.mkdir()
    recipe = {"format": "safetensors", "mapping": "by_name"} | weights
    content = bytes(save({name: value.contiguous() for name, value in state.items()}))
    convert(make_card(b"wheel", content, weights=recipe), {"weights": content}, folder)
    return load_file(folder / "model.safetensors")


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_convert_edits_names_and_keeps_values(tiny_state: State, tmp_path: Path) -> None:
    source = {f"net.{name}": value for name, value in tiny_state.items()}
    source["net.score"] = source.pop("net.head.weight")
    source |= {"net.unused": torch.ones(3), "other.weight": torch.ones(3)}
    edits = {"prefix": "net.", "drop": ["unused"], "rename": {"score": "head.weight"}}
    assert same(converted(source, tmp_path / "out", **edits), tiny_state)


def test_weights_in_several_files_are_joined_under_their_prefixes(tiny_state: State, tmp_path: Path) -> None:
    halves: tuple[State, State] = ({}, {})
    for i, (name, value) in enumerate(tiny_state.items()):
        halves[i % 2][name] = value
    contents = dict(zip(("weights", "second"), map(save, halves), strict=True))
    recipe: dict[str, Any] = {"format": "safetensors", "mapping": "by_name", "parts": {"weights": "a.", "second": "b."}}
    recipe["rename"] = {f"{part}.{name}": name for part, half in zip("ab", halves, strict=True) for name in half}
    card = make_card(b"wheel", contents["weights"])
    files = dict.fromkeys(contents, card.source.files["weights"])
    source = card.source.model_copy(update={"files": files})
    joined = card.model_copy(update={"source": source, "weights": WeightsRecipe.model_validate(recipe)})
    roles = convert(joined, contents, tmp_path)
    assert same(load_file(tmp_path / "model.safetensors"), tiny_state)
    assert [*roles] == ["weights"]
    with pytest.raises(ValidationError, match="names the role 'second'"):
        make_card(b"wheel", contents["weights"], weights=recipe)


def test_key_order_mapping_ignores_names(tiny_state: State, tmp_path: Path) -> None:
    # torch.save keeps the order; safetensors would sort by name.
    buffer = io.BytesIO()
    torch.save({f"t{index}": value for index, value in enumerate(tiny_state.values())}, buffer)
    content = buffer.getvalue()
    recipe = {"format": "torch_state_dict", "mapping": "key_order"}
    convert(make_card(b"wheel", content, weights=recipe), {"weights": content}, tmp_path)
    assert same(load_file(tmp_path / "model.safetensors"), tiny_state)


def test_equal_weights_give_equal_files(tiny_state: State, tmp_path: Path) -> None:
    converted(tiny_state, tmp_path / "a")
    converted(dict(reversed(tiny_state.items())), tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "recipe", "message"),
    [
        ({"head.bias": None}, {}, r"the file lacks head\.bias"),
        ({"extra": torch.ones(1)}, {}, "the architecture has no extra"),
        ({"head.bias": torch.ones(2)}, {}, r"head\.bias is torch\.float32 \[2\] in the file"),
        ({"head.bias": torch.ones(1, dtype=torch.float64)}, {}, r"head\.bias is torch\.float64"),
        ({}, {"drop": ["absent"]}, "its card edits absent"),
        ({}, {"rename": {"head.bias": "head.weight"}}, "two tensors to the same name"),
        ({"extra": torch.ones(1)}, {"mapping": "key_order"}, "the file has 16 tensors, the architecture 15"),
    ],
)
def test_state_that_does_not_fit_is_rejected_by_name_and_not_written(
    tiny_state: State, tmp_path: Path, change: dict[str, Any], recipe: dict[str, Any], message: str
) -> None:
    state = {name: value for name, value in (tiny_state | change).items() if value is not None}
    with pytest.raises(ConversionFailed, match=message):
        converted(state, tmp_path / "out", **recipe)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["torch_state_dict", "torchscript", "safetensors"])
def test_damaged_file_is_rejected(kind: str, tmp_path: Path) -> None:
    card = make_card(b"wheel", b"damaged", weights={"format": kind, "mapping": "by_name"})
    with pytest.raises(ConversionFailed, match=f"cannot be read as {kind}"):
        convert(card, {"weights": b"damaged"}, tmp_path)


def test_checkpoint_with_more_than_tensors_is_rejected(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"epoch": 3, "state": {}}, buffer)
    card = make_card(b"wheel", b"x", weights={"format": "torch_state_dict", "mapping": "by_name"})
    with pytest.raises(ConversionFailed, match="not a plain dictionary of tensors"):
        convert(card, {"weights": buffer.getvalue()}, tmp_path)


def with_files(card: Card, *roles: str, suffix: str) -> Card:
    """A card whose source has further files beside the weights."""
    files = card.source.files
    more = {role: files["weights"].model_copy(update={"path": f"{role}{suffix}"}) for role in roles}
    return card.model_copy(update={"source": card.source.model_copy(update={"files": {**files, **more}})})


@pytest.mark.parametrize(
    ("role", "suffix"), [("model", ".safetensors"), ("manifest", ".json"), ("manifest", ".JSON"), ("labels", ".txt")]
)
def test_file_that_the_store_writes_itself_is_never_replaced(
    tiny_state: State, tmp_path: Path, role: str, suffix: str
) -> None:
    content = bytes(save(tiny_state))
    card = make_card(b"wheel", content, weights={"format": "safetensors", "mapping": "by_name"})
    card = card.model_copy(update={"labels": "labels.txt", "class_names": ("speech",)})
    with pytest.raises(ConversionFailed, match="two files of the store the name"):
        convert(with_files(card, role, suffix=suffix), {"weights": content, role: b"other"}, tmp_path)
    assert not any(path.read_bytes() == b"other" for path in tmp_path.iterdir() if role != "labels")


@pytest.mark.parametrize("labels", ["model.safetensors", "manifest.json"])
def test_labels_never_replace_a_file(tiny_state: State, tmp_path: Path, labels: str) -> None:
    content = bytes(save(tiny_state))
    card = make_card(b"wheel", content, weights={"format": "safetensors", "mapping": "by_name"})
    card = card.model_copy(update={"labels": labels, "class_names": ("speech",)})
    with pytest.raises(ConversionFailed, match=f"the name {labels}"):
        convert(card, {"weights": content}, tmp_path)


@pytest.mark.parametrize("role", ["model", "manifest"])
def test_file_beside_a_graph_never_replaces_another(tmp_path: Path, role: str) -> None:
    card = make_card(b"wheel", b"graph", weights={"format": "onnx", "mapping": "unchanged"})
    card = with_files(card, role, suffix=".onnx" if role == "model" else ".json")
    with pytest.raises(ConversionFailed, match="two files of the store the name"):
        convert(card, {"weights": b"graph", role: b"other"}, tmp_path)


def test_graph_of_tensorflow_js_is_read_with_its_manifest(tmp_path: Path) -> None:
    """Of a detector with few channels: every tensor gets its place, and the manifest is not served."""
    detector = Catalog.from_package().get("nanodet")
    arguments = {"classes": 2, "bins": 3, "channels": 4, "blocks": [1, 1, 1], "width": 4}
    card = detector.model_copy(
        update={
            "architecture": detector.architecture.model_copy(update={"arguments": arguments}),
            "weights": detector.weights.model_copy(update={"rename": {}}),
        }
    )
    state = build_network(card).backbone.state_dict()
    kernels = [name for name, tensor in state.items() if tensor.dim() == 4]
    arrays = {
        name: tensor.half().float().numpy().transpose(2, 3, 1, 0) if name in kernels else tensor.half().float().numpy()
        for name, tensor in state.items()
    }
    nodes = [{"op": "Conv2D", "input": ["x", name]} for name in kernels]
    manifest, numbers = tfjs_graph(
        arrays | {"paddings": np.zeros((4, 2), np.int32)}, nodes, half=True, file="nanodet.bin"
    )
    roles = convert(card, {"weights": numbers, "manifest": manifest}, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    assert same(found, {name: tensor.half().float() for name, tensor in state.items()})
    assert roles == {"weights": "model.safetensors", "labels": "labels.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {*roles.values()}
    with pytest.raises(ConversionFailed, match="cannot be read as tfjs_graph"):
        convert(card, {"weights": numbers[:-1], "manifest": manifest}, tmp_path)
