"""A source names files inside it alone, by roles that are safe as names of files."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from model_zoo.cards.weight_source import WeightSource

FILE = {"path": "sub/net.safetensors", "sha256": "0" * 64, "bytes": 1}
PACKAGE = {"package": "tiny", "version": "1.0", "artifact_sha256": "0" * 64, "artifact_bytes": 1}
PLACE = {"repository": "org/tiny", "commit": "0" * 40}
OF_ADAPTER = {"adapter_weights": FILE | {"path": "adapter/a.safetensors"}}
SOURCES: dict[str, dict[str, Any]] = {
    "pypi": PACKAGE | {"artifact": "tiny-1.0-py3-none-any.whl"},
    "npm": PACKAGE | {"artifact": "tiny-1.0.tgz"},
    "debian": PACKAGE | {"artifact": "tiny_1.0_all.deb"},
    "hub": PLACE,
    "local": {"folder": "/srv/tiny"},
    "adapted": {"base": PLACE, "adapter": PLACE, "files": {"weights": FILE, **OF_ADAPTER}},
    "url": {"url": "https://models.example/net.onnx", "files": {"weights": FILE | {"path": "net.onnx"}}},
    "bundled": {},
    "tuned": {"base": "tiny", "base_digest": "0" * 64, "method": "full"},
}


def source(kind: str, **more: dict[str, Any]) -> Any:
    given = {"files": {"weights": FILE}, **SOURCES[kind], "kind": kind}
    return TypeAdapter(WeightSource).validate_python({**given, "files": {**given["files"], **more}})


@pytest.mark.parametrize("kind", SOURCES)
def test_source_with_files_inside_it_is_read(kind: str) -> None:
    more = {} if kind == "url" else {"weights_2": FILE, "tokenizer": FILE}
    assert {"weights", *more} <= source(kind, **more).files.keys()


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(
    "role", ["/home/ann/.bashrc", "../../x", "a/b", "a\\b", "..", "", "C:x", "a.b", "Weights", "2nd", "r" * 42, "a\n"]
)
def test_role_that_is_no_plain_word_is_refused(kind: str, role: str) -> None:
    with pytest.raises(ValidationError):
        source(kind, **{role: FILE})


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..", ".", "a\\b", "C:x", "a/b:stream", "a\0b"])
def test_path_that_leads_outside_is_refused(kind: str, path: str) -> None:
    with pytest.raises(ValidationError):
        source(kind, weights=FILE | {"path": path})


@pytest.mark.parametrize("path", ["a/net.onnx", ".hidden", "-net.onnx", "net onnx", "nét.onnx", "net.onnx\n"])
def test_file_at_an_address_has_a_plain_name(path: str) -> None:
    with pytest.raises(ValidationError):
        source("url", weights=FILE | {"path": path})


@pytest.mark.parametrize(
    "files",
    [
        {"weights": FILE},
        {"weights": OF_ADAPTER["adapter_weights"], **OF_ADAPTER},
        {"weights": FILE, "adapter_weights": FILE},
        {"weights": FILE, **OF_ADAPTER, "adapter_": OF_ADAPTER["adapter_weights"]},
        {"weights": FILE, **OF_ADAPTER, "config": OF_ADAPTER["adapter_weights"]},
    ],
)
def test_adapter_without_weights_of_its_own_or_with_other_roles_is_refused(files: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(WeightSource).validate_python({**SOURCES["adapted"], "kind": "adapted", "files": files})
