"""The folder of one fine-tuned version: the names of its files, and how it is read and checked.

::

    ZOO_HOME/versions/<model>/<number>/
      card.json            a Card whose source is "tuned"
      model.safetensors    all weights (method full), or the weights that the method adds to the base (head, lora)
      labels.txt           classes, one a line in the order of the logits
      golden.safetensors   a few held-out items and the worker's outputs for them (model_zoo/golden/golden_items.py)
      held_out.safetensors indices of the held-out examples and the worker's outputs for them (model_zoo/golden/held_out.py)
      lineage.json         base, base_sha256, dataset_id, dataset_sha256, method, job_id, seed, hyperparameters, zoo_version,
                           task, metrics, baseline_metrics, rival, created (seconds since 1970), training_seconds
      report.json, report.html, curves.json
      manifest.json        role, size and sha256 of every file above; written last

A folder is never edited after it was published. This module only reads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.errors import VersionDamaged, VersionTooNew
from model_zoo.golden.held_out import HELD_OUT
from model_zoo.materialised import Materialised
from model_zoo.release import is_newer
from model_zoo.sources.digest import sha256_of_file

__all__ = ["GOLDEN", "LINEAGE", "MANIFEST", "MODEL_NAME", "PAGE", "REPORT", "Version", "VersionFolder", "is_model_name"]

GOLDEN, LINEAGE, MANIFEST = "golden.safetensors", "lineage.json", "manifest.json"
REPORT, PAGE = "report.json", "report.html"
_CARD = "card.json"
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,62}")
"""The whole name of a model: no dots and no separators, so that a name is never a path."""
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def is_model_name(text: str) -> bool:
    """Whether a text may be the name of a model."""
    return MODEL_NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class Version:
    """One version and the place of its files."""

    model: str
    number: int
    card: Card
    files: Materialised
    lineage: Mapping[str, Any]
    created: float
    """Seconds since 1970."""
    size_bytes: int
    """Of all its files."""

    @property
    def golden(self) -> Path:
        """``golden.safetensors``; see ``model_zoo/golden/golden_items.py``."""
        return self.files.folder / GOLDEN

    @property
    def home(self) -> Path:
        """``ZOO_HOME``."""
        return self.files.folder.parents[2]

    @property
    def held_out(self) -> Path:
        """``held_out.safetensors``; see ``model_zoo/golden/held_out.py``."""
        return self.files.folder / HELD_OUT


class VersionFolder:
    """One folder of a version. Errors name the model and the number that the caller gives."""

    def __init__(self, model: str, number: int, path: Path) -> None:
        self._model = model
        self._number = number
        self._path = path

    def read(self) -> Version:
        """The version. Sizes are compared with the manifest; contents are not read (see ``verify``).

        Raises:
            VersionDamaged: a file is not as the manifest says, or the card does not validate.
            VersionTooNew: the card has what only a newer Zoo knows.
        """
        files, size_bytes = self.files()
        try:
            card = self.card()
            lineage = self._object(LINEAGE)
            if not lineage:
                raise self._damaged("its lineage cannot be read")
            created = float(lineage.get("created") or self._path.stat().st_mtime)
        except (OSError, ValueError, TypeError) as error:
            release = self._object(LINEAGE).get("zoo_version")
            if is_newer(release):
                raise VersionTooNew(self._model, self._number, str(release)) from error
            raise self._damaged("its card or its lineage cannot be read") from error
        self._check_card(card)
        return Version(self._model, self._number, card, files, lineage, created, size_bytes)

    def card(self) -> Card:
        """The card alone. Raises OSError; ValueError if it is not a valid card."""
        return strict_json.read_model(Card, (self._path / _CARD).read_bytes())

    def files(self) -> tuple[Materialised, int]:
        """The files by role, and their bytes. Raises VersionDamaged."""
        manifest = self._object(MANIFEST)
        if not manifest:
            raise self._damaged("its manifest cannot be read")
        try:
            entries = manifest["files"]
            paths: dict[str, Path] = {}
            size_bytes = 0
            for role, entry in entries.items():
                name = entry["name"]
                if not _FILE_NAME.fullmatch(name):
                    raise self._damaged("its manifest names what is no file of its own")
                path = self._path / name
                if not path.exists():
                    raise self._damaged(f"{name} is missing")
                if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
                    raise self._damaged(f"{name} is not the file that was published")
                paths[role] = path
                size_bytes += entry["bytes"]
            weights, digest = paths.pop("weights"), str(entries["weights"]["sha256"])
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged("files are missing") from error
        return Materialised(self._path, weights, paths, digest), size_bytes

    def document(self, name: str) -> Mapping[str, Any]:
        """A JSON document of the folder. Raises VersionDamaged if it cannot be read."""
        document = self._object(name)
        if not document:
            raise self._damaged(f"{name} cannot be read")
        return document

    def page(self) -> bytes:
        """The HTML report, UTF-8; empty if the version has none. Raises VersionDamaged if it cannot be read."""
        page = self._path / PAGE
        try:
            return page.read_bytes() if page.is_file() else b""
        except OSError as error:
            raise self._damaged(f"{PAGE} cannot be read") from error

    def published_by(self) -> str | None:
        """Id of the job that published the version; None if the lineage does not tell it."""
        job_id = self._object(LINEAGE).get("job_id")
        return job_id if isinstance(job_id, str) else None

    def check_complete(self) -> None:
        """Check before publishing that the folder holds a complete version of its model. Raises VersionDamaged."""
        self.files()
        try:
            card = self.card()
        except (OSError, ValueError) as error:
            raise self._damaged("its card cannot be read") from error
        self._check_card(card)

    def verify(self) -> None:
        """Read every file and compare it with the sha256 of the manifest. Nothing is removed.

        Raises:
            VersionDamaged: a file has changed, or is missing.
        """
        self.files()
        try:
            for entry in self._object(MANIFEST)["files"].values():
                if sha256_of_file(self._path / entry["name"]) != entry["sha256"]:
                    raise self._damaged(f"{entry['name']} is not the file that was published")
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged("its manifest or a file of it cannot be read") from error

    def _check_card(self, card: Card) -> None:
        if not isinstance(card.source, TunedSource) or card.name != self._model:
            raise self._damaged("its card is of something else")

    def _object(self, name: str) -> dict[str, Any]:
        return strict_json.read_object(self._path / name) or {}

    def _damaged(self, reason: str) -> VersionDamaged:
        return VersionDamaged(self._model, self._number, reason)
