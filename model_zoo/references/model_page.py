"""The metadata at the head of a repository's ``README.md``: licence, task, language (the model card of a hub).

Specification: https://huggingface.co/docs/hub/model-cards, a block of YAML between two lines of three dashes.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from model_zoo.errors import NotDerivable
from model_zoo.references.repository import Repository

__all__ = ["NOT_STATED", "ModelPage"]

NOT_STATED = "not stated"
_PATH, _LINE = "README.md", "---"


@dataclass(frozen=True)
class ModelPage:
    """The facts on the page; a field that it leaves out is empty, and the licence ``not stated``."""

    licence: str = NOT_STATED
    task: str = ""

    @classmethod
    def of(cls, repository: Repository) -> "ModelPage":
        """The page of a repository. A page that cannot be read states nothing: it is meant for people."""
        if _PATH not in repository.files:
            return cls()
        try:
            text = repository.read(_PATH).decode("utf-8", "replace")
        except NotDerivable:
            return cls()
        return cls.from_metadata(_metadata(text))

    @classmethod
    def from_metadata(cls, found: dict[str, Any]) -> "ModelPage":
        """From the parsed block."""
        licence, name, task = (found.get(key) for key in ("license", "license_name", "pipeline_tag"))
        if isinstance(licence, list):
            licence = " AND ".join(part for part in licence[:10] if isinstance(part, str))
        stated = name if licence == "other" and name else licence
        # Texts only: nested aliases of YAML are small until they are written out.
        return cls(
            stated[:200] if isinstance(stated, str) and stated else NOT_STATED,
            task[:100] if isinstance(task, str) else "",
        )


def _metadata(text: str) -> dict[str, Any]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != _LINE:
        return {}
    try:
        end = next(i for i, line in enumerate(lines[1:], 1) if line.strip() == _LINE)
        found = yaml.safe_load("\n".join(lines[1:end]))
    except Exception:  # constructors of YAML's types raise errors of many kinds
        return {}
    return found if isinstance(found, dict) else {}
