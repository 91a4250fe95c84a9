"""The packages that the run on a GPU needs are all named."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import requirements
from benchmarks.paths import ROOT

LIST_FILES = """
import sys
import {module}
print(*(m.__file__ for m in list(sys.modules.values()) if str(getattr(m, "__file__", "")).startswith({root!r})), sep="\\n")
"""
OURS = {"benchmarks", "model_zoo", "service"}


def test_package_that_is_missing_is_named_by_its_name_on_pypi(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"checks": {"json": "json", "no_such_module": "no-such-package", "no_such.part": "another"}}
    monkeypatch.setattr(requirements, "PARTS", parts)
    assert requirements.missing("checks") == ["another", "no-such-package"]


def test_nothing_is_missing_where_the_server_is_installed() -> None:
    assert requirements.missing("checks") == []
    assert requirements.missing("loads") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "modules"),
    [("checks", "benchmarks.gpu.checks"), ("loads", "benchmarks.gpu.seeded_server, benchmarks.gpu.loads")],
)
def test_every_import_of_a_part_is_among_its_requirements(part: str, modules: str) -> None:
    code = LIST_FILES.format(module=modules, root=str(ROOT / ""))
    files = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = [Path(file) for file in files if Path(file).relative_to(ROOT).parts[0] in OURS]
    needed = {name for file in ours for name in _imports(file)} - set(sys.stdlib_module_names) - OURS
    assert needed <= {name.partition(".")[0] for name in requirements.PARTS[part]}
    assert "pydantic" in needed


def _imports(file: Path) -> set[str]:
    """Top-level names that a module imports when it is loaded."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
