"""The parts of the key of a compiled network."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.runtime.compilers import compilation_spec
from service.runtime.compilers.compilation_spec import CompilationSpec
from tests.support.model_zoo.tiny_model import tiny_card

SPEC = CompilationSpec.of(tiny_card(), "a" * 64, "fp32", 2)


@pytest.mark.parametrize("part", ["architecture", "keep_in_fp32", "signature", "recipe", "batching"])
def test_key_depends_on_each_part_of_the_card_that_decides_the_code(part: str) -> None:
    assert part in SPEC.network
    changed = replace(SPEC, network=SPEC.network | {part: "other"})
    assert changed.key() != SPEC.key()


def test_key_depends_on_the_format_of_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    before = SPEC.key()
    monkeypatch.setattr(compilation_spec, "FORMAT", compilation_spec.FORMAT + 1)
    assert SPEC.key() != before


def test_key_is_a_digest_that_the_order_of_the_fields_does_not_change() -> None:
    turned = replace(SPEC, network=dict(reversed(SPEC.network.items())))
    assert turned.key() == SPEC.key()
    assert len(SPEC.key()) == 64
    assert not set(SPEC.key()) - set("0123456789abcdef")


def test_key_depends_on_the_inputs_by_which_the_network_is_quantised() -> None:
    keys = {CompilationSpec.of(tiny_card(), "a" * 64, "int8", 2, "openvino", digest).key() for digest in ("b", "c")}
    assert len(keys) == 2


def test_key_depends_on_the_sources_of_the_modules_that_build_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "model_zoo"
    module = package / "architectures" / "image" / "net.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr("model_zoo.__file__", str(package / "__init__.py"))
    keys = []
    for source in ("scale = 1", "scale = 1", "scale = 2"):
        module.write_text(source)
        compilation_spec.digest_of_modules.cache_clear()
        keys.append(CompilationSpec.of(tiny_card(), "a" * 64, "fp32", 2).key())
    compilation_spec.digest_of_modules.cache_clear()
    assert keys[0] == keys[1] != keys[2]
