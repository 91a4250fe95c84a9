"""The software bill of materials of this environment, and of what a set of packages needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from scripts.sbom import closure, keep, system_packages, validated
from scripts.torch_build import pinned
from tests.support.paths import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "sbom.py"


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The bill of this environment, which the script validates against CycloneDX's schema."""
    out = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    subprocess.run([sys.executable, SCRIPT, "--out", out], check=True, timeout=240)
    bill: dict[str, Any] = json.loads(out.read_text())
    return bill


@pytest.fixture(scope="module")
def components(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in bill["components"]}


def test_bill_is_of_zoo(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "zoo-serving"


def test_bill_names_the_packages_of_the_server_and_no_others(components: dict[str, dict[str, Any]]) -> None:
    assert {"torch", "torchvision", "grpcio", "cryptography", "pydantic_core"} <= components.keys()
    assert "psycopg-binary" in components  # by an extra of a requirement
    assert not {"pytest", "mypy", "ruff", "cyclonedx-bom", "hypothesis"} & components.keys()
    version = components["torch"]["version"]
    assert version.partition("+")[0] == pinned((REPOSITORY / "constraints.txt").read_text())["torch"]
    assert components["torch"]["purl"] == f"pkg:pypi/torch@{version}"
    assert components["torch"]["licenses"]


def test_bill_names_every_model_with_licence_and_digest(components: dict[str, dict[str, Any]]) -> None:
    for file in (REPOSITORY / "model_zoo" / "cards").glob("*.yaml"):
        card = yaml.safe_load(file.read_text())
        model = components[card["name"]]
        assert model["type"] == "machine-learning-model"
        assert card["licence"]["weights"] in model["licenses"][0]["license"]["name"]
        weights = card["source"].get("files", {}).get("weights")
        assert [one["content"] for one in model.get("hashes", [])] == ([weights["sha256"]] if weights else [])


def test_dependencies_of_the_bill_are_components_of_it(bill: dict[str, Any]) -> None:
    refs = {component["bom-ref"] for component in (bill["metadata"]["component"], *bill["components"])}
    assert bill["dependencies"]
    for one in bill["dependencies"]:
        assert {one["ref"], *one["dependsOn"]} <= refs


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not Debian")
def test_packages_of_the_system_have_names_that_scanners_know() -> None:
    system, *packages = system_packages()
    assert system["type"] == "operating-system"
    urls = [package["purl"] for package in packages]
    assert any(re.match(r"pkg:deb/\w+/libc6@\S+\?arch=\w+&distro=\S+$", url) for url in urls)
    assert len(urls) == len({*urls})


def test_bill_against_the_schema_is_refused() -> None:
    small = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    assert json.loads(validated(small)) == small
    with pytest.raises(SystemExit, match="not valid"):
        validated({**small, "components": [{"name": "torch"}]})  # a component has a type


def test_closure_follows_extras_and_markers() -> None:
    installed = {
        "app": ["base>=1", "db[fast]; extra == 'server'", "tests; extra == 'dev'"],
        "base": ["windows-only; sys_platform == 'win32'", "Deep_Name", "not-installed"],
        "db": ["c-library; extra == 'fast'", "slow; extra == 'slow'"],
        "deep-name": ["app"],
        "c-library": [],
        "slow": [],
        "tests": [],
        "windows-only": [],
    }
    assert closure(installed, "App", "server") == {"app", "base", "db", "c-library", "deep-name"}


def test_components_that_are_removed_are_not_depended_on() -> None:
    bill = {
        "metadata": {"component": {"bom-ref": "root"}},
        "components": [{"name": "A_b", "bom-ref": "a"}, {"name": "other", "bom-ref": "b"}],
        "dependencies": [{"ref": "root", "dependsOn": ["a", "b"]}, {"ref": "a"}, {"ref": "b", "dependsOn": ["a"]}],
    }
    keep(bill, {"a-b"})
    assert bill["components"] == [{"name": "A_b", "bom-ref": "a"}]
    assert bill["dependencies"] == [{"ref": "root", "dependsOn": ["a"]}, {"ref": "a", "dependsOn": []}]
