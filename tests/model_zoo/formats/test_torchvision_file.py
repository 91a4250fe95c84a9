"""Published files of torchvision are read as torchvision reads them, old ones among them."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import pytest
import torch

from model_zoo.cards.card import Architecture
from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed
from model_zoo.formats.torchvision_file import state_dict_of
from tests.support.references.torchvision_files import network, saved


def card(name: str, **arguments: Any) -> Any:
    architecture = Architecture(builder="torchvision", arguments={"model_name": name, "num_classes": 1000, **arguments})
    return Catalog.from_package().get("efficientnet_lite0").model_copy(update={"architecture": architecture})


def test_old_names_and_missing_counters_are_understood() -> None:
    state = network("densenet121").state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", name): tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    found = state_dict_of(card("densenet121"), saved(old))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state if not name.endswith("num_batches_tracked"))


def test_classifiers_that_only_training_uses_are_left_out() -> None:
    state = network("googlenet", init_weights=False).state_dict()
    found = state_dict_of(card("googlenet", transform_input=True), saved(state))
    assert {name.split(".")[0] for name in state.keys() - found.keys()} == {"aux1", "aux2"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


def test_versions_of_modules_are_kept() -> None:
    state = network("mnasnet0_5").state_dict()
    assert state_dict_of(card("mnasnet0_5"), saved(state)).keys() == state.keys()
    with pytest.raises(ConversionFailed, match="does not fit"):  # which this network asks for
        state_dict_of(card("mnasnet0_5"), saved(dict(state)))


@pytest.mark.parametrize("content", [b"", b"x" * 100, saved([1, 2])[:500], saved({"a": 1}), saved([])])
def test_what_is_no_checkpoint_is_refused(content: bytes) -> None:
    with pytest.raises(ConversionFailed, match=r"cannot be read|not a plain dictionary"):
        state_dict_of(card("shufflenet_v2_x0_5"), content)


@pytest.mark.parametrize("kind", ["number for a name", "sparse tensor", "no numbers"])
def test_odd_entries_are_refused(kind: str) -> None:
    state: dict[Any, Any] = dict(network("shufflenet_v2_x0_5").state_dict())
    odd = {"sparse tensor": state["fc.bias"].to_sparse(), "no numbers": state["fc.bias"].to("meta")}
    state |= {"fc.bias": odd[kind]} if kind in odd else {1: torch.zeros(1)}
    with pytest.raises(ConversionFailed, match=r"not a plain dictionary of tensors|cannot be read"):
        state_dict_of(card("shufflenet_v2_x0_5"), saved(state))


@pytest.mark.parametrize("metadata", [5, {"": 3}, {"layers": {"version": "x"}}, {"": {"version": [1]}}])
def test_odd_versions_of_modules_are_refused_or_have_no_effect(metadata: Any) -> None:
    state = OrderedDict(network("mnasnet0_5").state_dict())
    state._metadata = metadata  # type: ignore[attr-defined]
    with pytest.raises(ConversionFailed, match="does not fit"):
        state_dict_of(card("mnasnet0_5"), saved(state))
