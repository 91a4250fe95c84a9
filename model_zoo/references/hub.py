"""A repository of a model hub, at the commit to which its revision points now."""

import re
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import huggingface_hub

from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.model_page import NOT_STATED, ModelPage
from model_zoo.references.repository import MOST_CONFIG_BYTES, ListedFile
from model_zoo.sources.hub import fetch_file, fetch_start, hub_endpoint, hub_errors

__all__ = ["HubRepository"]

_COMMIT = re.compile("[0-9a-f]{40}")


class HubRepository:
    """Asks the hub once for the list of files; small files are fetched when they are read."""

    def __init__(self, repository: str, revision: str = "") -> None:
        """``repository``: ORG/NAME. ``revision``: branch, tag or commit; empty for the main branch."""
        self.repository = repository
        self._revision = revision
        self.name = f"hf:{repository}"

    @cached_property
    def _info(self) -> Any:
        with hub_errors(self.name):
            return huggingface_hub.HfApi(endpoint=hub_endpoint()).model_info(
                self.repository, revision=self._revision or None, files_metadata=True
            )

    @property
    def commit(self) -> str:
        """40 hex digits.

        Raises:
            SourceUnavailable: the hub does not answer, or has no such repository or revision.
        """
        found = str(self._info.sha)
        if not _COMMIT.fullmatch(found):  # it becomes the name of a folder
            raise SourceUnavailable(self.name, "the hub does not say at which commit it is")
        return found

    @cached_property
    def files(self) -> Mapping[str, ListedFile]:
        """See Repository. Raises as ``commit``. Names that lead out of a folder are left out: a hub may not be trusted."""
        return {
            file.rfilename: ListedFile(int(file.size or 0), str(file.lfs.sha256) if file.lfs else "")
            for file in self._info.siblings or ()
            if _stays_inside(file.rfilename)
        }

    @cached_property
    def _page(self) -> ModelPage:
        data = self._info.card_data
        return ModelPage.from_metadata(data.to_dict() if data is not None else {})

    @property
    def licence(self) -> str:
        """See Repository."""
        return self._page.licence or NOT_STATED

    @property
    def task(self) -> str:
        """See Repository."""
        return str(self._info.pipeline_tag or self._page.task)

    def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
        """See Repository."""
        if self.files[path].size > most:
            raise NotDerivable(self.name, f"{path} has {self.files[path].size:,} bytes, more than {most:,}")
        with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            fetched = fetch_file(self.repository, self.commit, path, Path(folder))
            content = fetched.read_bytes()[: most + 1]
        if len(content) > most:
            raise NotDerivable(self.name, f"{path} has more than {most:,} bytes")
        return content

    def start(self, path: str, count: int) -> bytes:
        """See Repository."""
        return fetch_start(self.repository, self.commit, path, count)


def _stays_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and "\\" not in path and not any(part in ("", ".", "..") for part in parts)
