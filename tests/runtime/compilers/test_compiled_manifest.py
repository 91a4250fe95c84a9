"""A manifest is read as it was written, and only if nothing about it is odd (`test_compiled_cache.py` has the odd ones)."""

from pathlib import Path

import pytest

from model_zoo import strict_json
from service.runtime.compilers import compiled_manifest
from service.runtime.compilers.compiled_manifest import MANIFEST, Manifest, Refusal, manifest, read_manifest, refusal

DIGEST = "0" * 64


@pytest.mark.parametrize(
    "made",
    [
        manifest("aotinductor", {"network.so": DIGEST}, ["x"], ["y"], 1.5),
        manifest("openvino", {"network.xml": DIGEST, "network.bin": DIGEST}, [], [], 0.0),
        refusal("openvino", "an operation is not known"),
    ],
    ids=["AOTInductor", "OpenVINO", "refused"],
)
def test_manifest_is_read_as_it_was_written(tmp_path: Path, made: Manifest | Refusal) -> None:
    (tmp_path / MANIFEST).write_text(strict_json.text(made.model_dump()))
    assert read_manifest(tmp_path) == made
    assert made.is_of_today()


def test_manifest_of_the_files_of_another_compiler_is_not_read(tmp_path: Path) -> None:
    made = manifest("openvino", {"network.so": DIGEST}, [], [], 0.0)
    (tmp_path / MANIFEST).write_text(strict_json.text(made.model_dump()))
    assert read_manifest(tmp_path) is None


def test_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("changed", ["format", "torch", "version"])
def test_network_of_another_version_is_not_of_today(changed: str) -> None:
    made = refusal("openvino", "an operation is not known")
    document = made.model_dump()
    document[changed] = compiled_manifest.FORMAT + 1 if changed == "format" else "another"
    assert not Refusal.model_validate(document).is_of_today()
