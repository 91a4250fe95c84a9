"""Stored figures of a check hold for one way of running a network, and for one version of its compiler."""

from types import SimpleNamespace
from typing import Any

import pytest

from service.verification import check_key as module
from service.verification.check_key import check_key, tier_and_precision


def runtime(compiler: str) -> Any:
    return SimpleNamespace(tier="compiled" if compiler else "eager", compiler=compiler, precision="bf16", device="cpu")


def test_figures_of_two_compilers_are_apart_and_named_alike_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "compiler_version", lambda name: "2099.1" if "openvino" in name else "")
    names = "", "aotinductor", "openvino", "openvino+aotinductor"
    assert len({check_key(runtime(name)) for name in names}) == 4
    assert {tier_and_precision(runtime(name)) for name in names[1:]} == {"compiled bf16"}
    before = check_key(runtime("openvino"))
    monkeypatch.setattr(module, "compiler_version", lambda name: "2099.2")
    assert check_key(runtime("openvino")) != before
