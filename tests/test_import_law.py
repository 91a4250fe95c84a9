"""Imports point one way, as service/__init__.py draws it.

The law is held over the source, so that an import inside a function counts as well; the last tests ask real processes.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.source import imported_by, module_name

ORDER = (
    "top",
    "wire",
    "inference",
    "jobs",
    "tiering",
    "registry",
    "references",
    "verification",
    "engine",
    "training",
    "tasks",
    "scheduler",
    "runtime",
    "datasets",
    "access",
    "database",
    "model_zoo",
)
"""Left may import right. Two of one layer are one folder, or know each other anyway."""
TOP = (
    "service.grpc_port",
    "service.server",
    "service.startup",
    "service.access_control",
    "service.fine_tuning",
    "service.unix_socket",
    "service.banner",
    "service.cli",
    "service.doctor",
)
LEAVES = (
    "service.addresses",
    "service.errors",
    "service.types",
    "service.settings",
    "service.observability",
    "service.folder_walk",
    "service.disk",
    "service.rounding",
    "service.processes",
)
BESIDE = ("service.client", "service.pb", "service.protobuf_values")
"""The SDK imports the protocol and the leaves, and nothing of the server. The generated code imports no other module."""

GRPC = {"grpc", "grpc_health", "grpc_reflection", "grpc_status", "google", "service.pb"}
GRPC_LIVES_IN = (
    "service.wire",
    "service.client",
    "service.grpc_port",
    "service.server",
    "service.startup",
    "service.pb",
    "service.protobuf_values",
)
TORCH = {"torch", "torchvision", "timm", "transformers", "safetensors"}
TORCH_LIVES_IN = (
    "service.training",
    "service.references",
    "service.tasks",
    "service.runtime",
    "service.tiering",
    "service.verification",
    "model_zoo",
)


OPENTELEMETRY_LIVES_IN = ("service.observability.tracing.otlp",)


def under(module: str, *roots: str) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def layer(module: str) -> str:
    """The layer of one of our modules; `leaf` and `beside` stand outside the order."""
    if module == "service":
        return "leaf"
    for name, roots in {"top": TOP, "leaf": LEAVES, "beside": BESIDE}.items():
        if under(module, *roots):
            return name
    return "model_zoo" if under(module, "model_zoo") else module.split(".")[1]


def violations(module: str, imports: Iterator[str]) -> list[str]:
    """What a module imports against the law."""
    mine, wrong = layer(module), []
    for target in imports:
        root = target.partition(".")[0]
        if (root in GRPC or under(target, "service.pb")) and not under(module, *GRPC_LIVES_IN):
            wrong.append(f"{module} imports {target}: grpc and protobuf live in {', '.join(GRPC_LIVES_IN)}")
        if root in TORCH and not under(module, *TORCH_LIVES_IN):
            wrong.append(f"{module} imports {target}: torch lives in {', '.join(TORCH_LIVES_IN)}")
        if root == "opentelemetry" and not under(module, *OPENTELEMETRY_LIVES_IN):
            wrong.append(f"{module} imports {target}: OpenTelemetry lives in {', '.join(OPENTELEMETRY_LIVES_IN)}")
        if root in ("service", "model_zoo") and not allowed(mine, module, target):
            wrong.append(f"{module} ({mine}) imports {target} ({layer(target)})")
    return wrong


def allowed(mine: str, module: str, target: str) -> bool:
    theirs = layer(target)
    if target == "service":  # the version
        return mine != "model_zoo"
    if mine in ORDER and theirs in ORDER:
        return ORDER.index(mine) <= ORDER.index(theirs)
    if theirs == "leaf":
        return mine != "model_zoo" and not under(module, "service.pb")
    if theirs == "beside":
        return mine in ("top", "wire") or (mine == "beside" and layer_root(module) in ("client", layer_root(target)))
    return False


def layer_root(module: str) -> str:
    return module.split(".")[1]


def modules() -> list[tuple[str, Path]]:
    return [
        (module_name(path), path)
        for root in ("service", "model_zoo")
        for path in sorted((REPOSITORY / root).rglob("*.py"))
    ]


def imports_of(module: str, path: Path) -> Iterator[str]:
    return imported_by(ast.parse(path.read_text(encoding="utf-8")), module, path.name == "__init__.py")


# ── the law ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_import_points_one_way() -> None:
    wrong = [line for module, path in modules() for line in violations(module, imports_of(module, path))]
    assert not wrong, "\n".join(wrong)


def test_the_law_is_held_over_every_layer() -> None:
    """A renamed folder must not slip out of the law."""
    seen = {layer(module) for module, _ in modules()}
    assert seen == {*ORDER, "leaf", "beside"}


def test_no_two_layers_import_each_other() -> None:
    """Within the service's own folders, which the order cannot tell apart."""
    edges = {
        (layer_root(module), layer_root(target))
        for module, path in modules()
        for target in imports_of(module, path)
        if module.count(".") and target.count(".") and under(module, "service") and under(target, "service")
    }
    both = {(a, b) for a, b in edges if a != b and (b, a) in edges}
    assert not both


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("service.scheduler.policy", "from service.wire import status"),
        ("service.scheduler.policy", "from service.registry.registry import Registry"),
        ("service.runtime.network", "import service.scheduler.policy"),
        ("service.tasks.base", "from service.inference import Inference"),
        ("service.engine.served_model", "from .. import inference"),
        ("service.engine.served_model", "from ..wire.status import code_of"),
        ("service.wire.zoo_v1.prediction", "from service import server"),
        ("service.inference", "from service.wire.status import code_of"),
        ("service.inference", "def late():\n    import service.cli.main"),
        ("service.inference", "import grpc"),
        ("service.registry.registry", "from google.rpc import status_pb2"),
        ("service.registry.registry", "from service.pb import prediction_pb2"),
        ("service.scheduler.scheduler", "import torch.nn as nn"),
        ("service.wire.zoo_v1.prediction", "if True:\n    import torch"),
        ("service.registry.loading.loader", "from transformers import AutoModel"),
        ("service.server", "import timm"),
        ("service.cli.commands.serve", "import torch"),
        ("service.client._sync.client", "import torch"),
        ("service.client._sync.client", "from service.inference import Inference"),
        ("service.client._sync.client", "from service.registry import registry"),
        ("service.errors", "from service.inference import Inference"),
        ("service.errors", "import grpc"),
        ("service.types", "from service.tasks.base import Task"),
        ("service.observability.recorder", "from service.scheduler.policy import Limits"),
        ("service.settings", "from model_zoo.catalog import Catalog"),
        ("service.pb.prediction_pb2", "import service.errors"),
        ("service.observability.tracing.request_tracing", "from opentelemetry import trace"),
        ("model_zoo.cards.card", "from service.errors import ZooError"),
        ("model_zoo.cards.card", "import service"),
        ("model_zoo.store", "import importlib\nimportlib.import_module('service.errors')"),
        ("model_zoo.store", "import grpc"),
    ],
)
def test_the_law_catches_who_breaks_it(module: str, line: str) -> None:
    assert violations(module, imported_by(ast.parse(line), module, is_package=False))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("service.server", "from service.wire.health import Health"),
        ("service.wire.zoo_v1.prediction", "from service.inference import Inference"),
        ("service.wire.zoo_v1.prediction", "from . import status"),
        ("service.registry.loading.loader", "from service.tasks.table import task_for"),
        ("service.tasks.base", "from model_zoo.cards.card import Card"),
        ("service.scheduler.policy", "from ..types import Item"),
        ("service.client._sync.client", "from service.pb import prediction_pb2"),
        ("service.cli.commands.predict", "from service.client import Client"),
        ("service.errors", "from service.types import Item"),
        ("model_zoo.network", "import torch"),
    ],
)
def test_the_law_lets_pass_what_is_right(module: str, line: str) -> None:
    assert not violations(module, imported_by(ast.parse(line), module, is_package=False))


# ── asked of real processes ───────────────────────────────────────────────────────────────────────────────────────

HEAVY = ("torch", "torchvision", "timm", "transformers", "soundfile", "PIL", "tokenizers")
SERVER_WITH_NETWORKS = (
    "import service.server as s; from model_zoo.network import build_network as b; "
    "catalog = s.Catalog.from_package(); [b(catalog.get(name)) for name in catalog.default_names()]"
)
"""The server, and the networks that it loads where a user names none: a start takes seconds for each library."""


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("from service.cli.main import main; main()", HEAVY),
        ("import service.doctor.checkup", HEAVY),
        ("import service.client", (*HEAVY, "service.registry", "service.inference", "model_zoo.network")),
        ("import service.errors, service.types, service.settings, service.observability.recorder", ("torch", "grpc")),
        ("import service.scheduler.scheduler", ("torch", "grpc", "model_zoo")),
        ("import model_zoo.cards.card, model_zoo.catalog, model_zoo.store", ("torch", "service", "grpc")),
        ("import service.wire.status", ("torch",)),
        (SERVER_WITH_NETWORKS, ("opentelemetry", "timm", "torchvision", "transformers", "torch._dynamo")),
    ],
)
def test_a_process_does_not_load_what_it_does_not_need(code: str, never: tuple[str, ...]) -> None:
    script = f"""
import sys
sys.argv = ["zoo", "--help"]
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", sorted(set({never!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"
