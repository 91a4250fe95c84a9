"""The repository's own source, read for tests of its structure."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import REPOSITORY


def module_name(path: Path) -> str:
    """`service/wire/status.py` → `service.wire.status`; a package is named by its folder."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_exists(module: str) -> bool:
    path = REPOSITORY / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported_by(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Every module that a source file imports, wherever in it and under whatever condition."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from service import server` imports a module, `from service.errors import NotFound` a name of one.
                yield f"{base}.{alias.name}" if module_exists(f"{base}.{alias.name}") else base
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("__import__", "import_module", "importlib.import_module")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)
