"""The packages that each part of the run needs. A part whose packages are missing is not run, and the report names them.

Nothing is fetched or brought along: the machine may have no network. This module imports the standard library only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

NETWORKS = {
    "numpy": "numpy",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "structlog": "structlog",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "yaml": "pyyaml",
}
SERVER = {
    **NETWORKS,
    "PIL": "pillow",
    "alembic": "alembic",
    "cryptography": "cryptography",
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
    "platformdirs": "platformdirs",
    "prometheus_client": "prometheus-client",
    "psutil": "psutil",
    "pydantic_core": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "rich": "rich",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "sqlalchemy": "sqlalchemy",
    "tokenizers": "tokenizers",
    "typer": "typer",
}
PARTS: Mapping[str, Mapping[str, str]] = {"checks": NETWORKS, "loads": SERVER}
"""By part: module → the name of its package on PyPI."""


def missing(part: str) -> list[str]:
    """Packages that a part needs and this Python does not have, by their names on PyPI."""
    return sorted({package for module, package in PARTS[part].items() if not _found(module)})


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
