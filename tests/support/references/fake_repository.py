"""A repository of a few texts in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model_zoo.errors import NotDerivable
from model_zoo.references.repository import MOST_CONFIG_BYTES, ListedFile


class FakeRepository:
    """Files by path: bytes, or an object that is written as JSON."""

    def __init__(self, contents: Mapping[str, Any], licence: str = "MIT") -> None:
        self.name = "hf:org/name"
        self.licence = licence
        self.task = ""
        self._contents = {
            path: content if isinstance(content, bytes) else json.dumps(content).encode()
            for path, content in contents.items()
        }

    @property
    def files(self) -> Mapping[str, ListedFile]:
        return {path: ListedFile(len(content)) for path, content in self._contents.items()}

    def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
        if len(self._contents[path]) > most:
            raise NotDerivable(self.name, f"{path} is too large")
        return self._contents[path]

    def start(self, path: str, count: int) -> bytes:
        return self._contents[path][:count]
