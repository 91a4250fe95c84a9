"""A folder of this machine as a repository: what ``save_pretrained`` wrote, or the snapshot of a hub."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.model_page import ModelPage
from model_zoo.references.repository import MOST_CONFIG_BYTES, ListedFile
from model_zoo.sources.folder_files import stays_inside

__all__ = ["LocalRepository"]

_MOST_FILES = 1000


class LocalRepository:
    """The files below a folder. Links that lead out of it are refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"local:{folder.name}"

    @cached_property
    def files(self) -> Mapping[str, ListedFile]:
        """All files by path, without hidden ones.

        Raises:
            SourceUnavailable: there is no such folder, or it cannot be read.
            NotDerivable: it holds a link to a file outside, or very many files.
        """
        try:
            if not self.folder.is_dir():
                what = "it is a file, not a folder" if self.folder.exists() else "there is no such folder"
                raise SourceUnavailable(self.name, what)
            return dict(sorted(self._listed()))
        except OSError as error:
            raise SourceUnavailable(self.name, "the folder cannot be read") from error

    def _listed(self) -> Iterator[tuple[str, ListedFile]]:
        count = 0
        for path in self.folder.rglob("*"):
            relative = path.relative_to(self.folder)
            if any(part.startswith(".") for part in relative.parts) or not path.is_file():
                continue
            if not stays_inside(self.folder, path):
                raise NotDerivable(self.name, f"{relative.as_posix()} is a link to a file outside the folder")
            count += 1
            if count > _MOST_FILES:
                raise NotDerivable(self.name, f"it has more than {_MOST_FILES:,} files")
            yield relative.as_posix(), ListedFile(path.stat().st_size)

    @cached_property
    def _page(self) -> ModelPage:
        return ModelPage.of(self)

    @property
    def licence(self) -> str:
        """See Repository."""
        return self._page.licence

    @property
    def task(self) -> str:
        """See Repository."""
        return self._page.task

    def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
        """See Repository."""
        if self.files[path].size > most:
            raise NotDerivable(self.name, f"{path} has {self.files[path].size:,} bytes, more than {most:,}")
        return self.start(path, most)

    def start(self, path: str, count: int) -> bytes:
        """See Repository."""
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(count)
        except OSError as error:
            raise SourceUnavailable(f"{path} of {self.name}", "it cannot be read") from error
