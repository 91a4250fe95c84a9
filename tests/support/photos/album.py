"""A folder of photos with its index, beside a fake client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from service.cli.photos.index_model import Purpose
from service.cli.photos.indexing import IndexReport, update_index
from service.cli.photos.photo_index import PhotoIndex, existing_index, writable_index
from service.client import Client
from tests.support.photos.fake_client import CLIP, EMBEDDER, FakeClient, info

MOST_BYTES = 10_000


class Album:
    def __init__(self, root: Path) -> None:
        self.folder = Path(os.path.realpath(root / "photos"))
        self.folder.mkdir()
        self.file = root / "index.sqlite3"
        self.client = FakeClient()
        self.bars: list[tuple[str, int, list[int]]] = []
        """Each bar of progress: what, how many, and a list as long as the steps that were made."""

    def add(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def serve_embeddings(self) -> None:
        self.client.models[EMBEDDER] = info(EMBEDDER, "image-feature-extraction")

    def serve_clip(self) -> None:
        self.client.models[CLIP] = info(CLIP, "zero-shot-image-classification")

    def index(self, most_bytes: int = MOST_BYTES, **names: str) -> IndexReport:
        """Brings the index up to date; `names` are models by purpose."""
        with writable_index(self.file, self.folder) as index:
            return update_index(
                self.connect(),
                index,
                self.folder,
                {Purpose(purpose): name for purpose, name in names.items()},
                most_bytes=most_bytes,
                progress=self._progress,
            )

    def sent(self) -> list[str]:
        """The beginnings of the photos that were sent since the last look."""
        sent = [data.decode().partition("|")[0] for _, data in self.client.sent]
        self.client.sent.clear()
        return sent

    @contextmanager
    def opened(self) -> Iterator[PhotoIndex]:
        with existing_index(self.file, self.folder) as index:
            yield index

    def connect(self) -> Client:
        return cast(Client, self.client)

    @contextmanager
    def _progress(self, what: str, total: int) -> Iterator[Callable[[], Any]]:
        steps: list[int] = []
        self.bars.append((what, total, steps))
        yield lambda: steps.append(1)
