"""The software bill of materials of what is shipped, as CycloneDX JSON: Python packages, models, and packages of the system.

    python scripts/sbom.py --python .venv/bin/python --out FILE       # what Zoo's server needs of an environment
    python scripts/sbom.py --python … --whole --system --out FILE     # all of an environment, and Debian's packages (the image)

cyclonedx-py describes the packages. This adds the models, whose weights are fetched at first use and pinned by sha256 on their
cards, and with --system what dpkg knows. The result is validated against the schema of CycloneDX. Two runs over the same packages
give the same file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = SchemaVersion.V1_6
PROJECT = "zoo-serving"
EXTRA = "server"
_REQUIREMENTS = """
import json, sys
from importlib import metadata
print(json.dumps({dist.metadata["Name"]: dist.requires or [] for dist in metadata.distributions()}))
"""


def requirements(python: Path) -> dict[str, list[str]]:
    """Installed package → its requirements, of a Python's environment."""
    done = subprocess.run([python, "-c", _REQUIREMENTS], check=True, capture_output=True, text=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return {canonicalize_name(name): needed for name, needed in found.items()}


def closure(installed: Mapping[str, Iterable[str]], project: str, extra: str) -> set[str]:
    """Canonical names of all packages that a project with one of its extras needs, itself included."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(project), ""), (canonicalize_name(project), extra)]
    while waiting:
        name, wanted = step = waiting.pop()
        if step in seen or name not in installed:
            continue
        seen.add(step)
        for requirement in map(Requirement, installed[name]):
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                waiting += [(canonicalize_name(requirement.name), one) for one in ("", *requirement.extras)]
    return {name for name, _ in seen}


def described(python: Path, pyproject: Path) -> dict[str, Any]:
    """The bill of all packages in a Python's environment, as cyclonedx-py makes it."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python), "--pyproject", str(pyproject)]
    command += [
        "--spec-version",
        SCHEMA.to_version(),
        "--output-reproducible",
        "--no-validate",
        "--of",
        "JSON",
        "-o",
        "-",
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    bill: dict[str, Any] = json.loads(done.stdout)
    return bill


def keep(bill: dict[str, Any], names: set[str]) -> None:
    """Removes the components of other names from a bill, and what depends on them."""
    bill["components"] = [one for one in bill["components"] if canonicalize_name(one["name"]) in names]
    refs = {one["bom-ref"] for one in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    bill["dependencies"] = [
        {"ref": one["ref"], "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in refs]}
        for one in bill["dependencies"]
        if one["ref"] in refs
    ]


def models(cards: Path) -> Iterator[dict[str, Any]]:
    """The models of a folder of cards. `optional`: their weights are fetched when a model is first served."""
    for file in sorted(cards.glob("*.yaml")):
        card = yaml.safe_load(file.read_text())
        source = card.get("source") or {}
        weights = (source.get("files") or {}).get("weights") or {}
        component = {
            "type": "machine-learning-model",
            "bom-ref": f"model:{card['name']}",
            "name": card["name"],
            "version": str(source.get("version") or source.get("revision") or ""),
            "description": card["summary"],
            "scope": "optional",
            "licenses": [{"license": {"name": f"weights: {card['licence']['weights']}"}}],
            "hashes": [{"alg": "SHA-256", "content": weights["sha256"]}] if "sha256" in weights else [],
        }
        yield {name: value for name, value in component.items() if value}


def system_packages() -> Iterator[dict[str, Any]]:
    """The packages of Debian, and Debian itself."""
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line and line[0] != "#"
    )
    system = {name: value.strip('"') for name, value in release.items()}
    about = f"{system['ID']}-{system.get('VERSION_ID', '')}".rstrip("-")
    yield {"type": "operating-system", "bom-ref": about, "name": system["ID"], "version": system.get("VERSION_ID", "")}
    form = "${Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(["dpkg-query", "--show", "--showformat", form], check=True, capture_output=True, text=True)
    for line in sorted(listed.stdout.splitlines()):
        name, version, architecture = line.split("\t")
        qualifiers = {"arch": architecture, "distro": about}
        purl = PackageURL("deb", system["ID"], name, version, qualifiers).to_string()
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill_of_materials(python: Path, pyproject: Path, cards: Path, *, whole: bool, system: bool) -> dict[str, Any]:
    """The whole bill."""
    bill = described(python, pyproject)
    if not whole:
        keep(bill, closure(requirements(python), PROJECT, EXTRA))
    bill["components"] += models(cards)
    if system:
        bill["components"] += system_packages()
    return bill


def validated(bill: Mapping[str, Any]) -> str:
    """A bill as JSON text. Exits with a message if it violates CycloneDX's schema."""
    from cyclonedx.validation.json import JsonStrictValidator  # takes more than a second

    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    problem = JsonStrictValidator(SCHEMA).validate_str(text)
    if problem is not None:
        raise SystemExit(f"the bill of materials is not valid: {problem}")
    return text


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write a software bill of materials as CycloneDX JSON.")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the Python of the environment")
    parser.add_argument("--out", type=Path, required=True, help="where the file goes")
    parser.add_argument("--pyproject", type=Path, default=ROOT / "pyproject.toml")
    parser.add_argument("--cards", type=Path, default=ROOT / "model_zoo" / "cards")
    parser.add_argument("--whole", action="store_true", help="all packages there, not only those of Zoo's server")
    parser.add_argument("--system", action="store_true", help="Debian's packages too")
    given = parser.parse_args()
    bill = bill_of_materials(given.python, given.pyproject, given.cards, whole=given.whole, system=given.system)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(validated(bill))
    print(f"{given.out} lists {len(bill['components'])} components")


if __name__ == "__main__":
    main()
