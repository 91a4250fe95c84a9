"""The structure that docs/architecture.md describes: no cycles, shallow inheritance, folders and names that stay small and plain.

Everything is read from the source, so an import inside a function or under TYPE_CHECKING counts as well.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.source import imported_by, module_name

PACKAGES = ("service", "model_zoo", "benchmarks")
MOST_MODULES = 16
"""In one folder, `__init__.py` among them; beyond that a package has sub-packages."""
LONGEST_CHAIN = 2
"""A class and one base of ours. Protocols, exceptions and classes of libraries are not counted."""


@cache
def sources(root: str) -> Mapping[str, tuple[Path, ast.Module]]:
    """Module name → its file and its syntax tree. Generated code is left out."""
    found = {}
    for path in sorted((REPOSITORY / root).rglob("*.py")):
        if "pb" not in path.relative_to(REPOSITORY).parts:
            found[module_name(path)] = (path, ast.parse(path.read_text(encoding="utf-8")))
    return found


# ── cycles ────────────────────────────────────────────────────────────────────────────────────────────────────────


def components(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def import_graph(root: str) -> dict[str, set[str]]:
    modules = sources(root)
    return {
        module: {target for target in imported_by(tree, module, path.name == "__init__.py") if target in modules}
        - {module}
        for module, (path, tree) in modules.items()
    }


@pytest.mark.parametrize("root", PACKAGES)
def test_modules_do_not_import_each_other_in_a_cycle(root: str) -> None:
    assert components(import_graph(root)) == []


def test_a_cycle_is_found_whatever_leads_to_it() -> None:
    assert components({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


# ── inheritance ───────────────────────────────────────────────────────────────────────────────────────────────────


def class_bases(root: str) -> dict[str, list[str]]:
    """Every class of a package → its bases, both with their modules as far as these are ours."""
    found: dict[str, list[str]] = {}
    for module, (_, tree) in sources(root).items():
        names = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        names |= {node.name: f"{module}.{node.name}" for node in classes}
        for node in classes:
            bases = [ast.unparse(base).partition("[")[0] for base in node.bases]
            found[f"{module}.{node.name}"] = [names.get(base, base) for base in bases]
    return found


def chain(name: str, classes: Mapping[str, list[str]]) -> list[str]:
    """The longest line of our own classes from `name` upwards. Protocols and exceptions have none."""
    bases = classes.get(name)
    if bases is None or "typing.Protocol" in bases or "Protocol" in bases:
        return []
    if any(is_exception(base, classes) for base in [name, *bases]):
        return []
    above = max((chain(base, classes) for base in bases), key=len, default=[])
    return [name, *above]


def is_exception(name: str, classes: Mapping[str, list[str]]) -> bool:
    if name in classes:
        return any(is_exception(base, classes) for base in classes[name])
    return name.endswith(("Error", "Exception", "Interrupt"))


def test_no_class_stands_on_more_than_one_base_class_of_ours() -> None:
    classes = class_bases("service")
    long = [" → ".join(line) for name in classes if len(line := chain(name, classes)) > LONGEST_CHAIN]
    assert not long, "\n".join(long)


def test_the_chain_of_a_class_is_counted_through_our_own_bases_alone() -> None:
    classes = {"A": ["B"], "B": ["C", "nn.Module"], "C": [], "P": ["Protocol"], "D": ["P"], "E": ["ValueError"]}
    assert chain("A", classes) == ["A", "B", "C"]
    assert chain("D", classes) == ["D"]
    assert chain("E", classes) == []


# ── folders and names ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("root", [*PACKAGES, "tests", "scripts", "examples"])
def test_a_folder_holds_few_modules(root: str) -> None:
    counts = Counter(path.parent for path in (REPOSITORY / root).rglob("*.py"))
    crowded = {str(folder.relative_to(REPOSITORY)): n for folder, n in counts.items() if n > MOST_MODULES}
    assert not crowded


OLD = re.compile(
    r"\b(Asking|MakingRoom|LoadingHeads|Book|Kept|Learning|Naming|Forgetting|Following|Places|Coming|Slot|Rider|Tuner|Evidence"
    r"|House|Visit|QuickCall|Gather|Came|Ticket|Told|Attempt|Yielding|Suited|ReadyWorker|Journal|Notices|Rested|Mouth|Lesson"
    r"|Draft|Wishes|Tap|corridor)\b"
)
PUBLIC = {"Evidence": ("service/client", "service/cli", "service/wire")}
"""Names of the protocol, which stay: `zoo.v1.Evidence` tells of a tier."""


def identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def test_names_are_those_of_the_field() -> None:
    found = set()
    for root in PACKAGES:
        for path, tree in sources(root).values():
            place = str(path.relative_to(REPOSITORY))
            for name in identifiers(tree):
                if OLD.fullmatch(name) and not place.startswith(PUBLIC.get(name, ("-",))):
                    found.add(f"{place}: {name}")
    assert not found, "\n".join(sorted(found))


def test_a_class_name_is_used_once_in_a_package() -> None:
    """Of the modules that a reader meets together; the client and the wire name the same things of the protocol."""
    seen: dict[str, set[str]] = {}
    for module, (_, tree) in sources("service").items():
        if not module.startswith(("service.client", "service.wire", "service.cli")):
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    seen.setdefault(node.name, set()).add(module)
    twice = {name: sorted(modules) for name, modules in seen.items() if len(modules) > 1}
    assert not twice


def test_lists_of_slow_and_long_tests_name_what_exists() -> None:
    """A renamed module would silently become a fast one, or leave its server's group."""
    lists = [REPOSITORY / "tests" / "conftest.py", REPOSITORY / "tests" / "support" / "parallel.py"]
    named = {path for file in lists for path in re.findall(r'"(tests/[\w/]+(?:\.py|/))"', file.read_text())}
    assert len(named) > 20
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []
