"""Repositories of transformers: ``config.json`` with a ``model_type``, safetensors, and the files of a processor."""

from collections.abc import Mapping
from typing import Any

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.repository import Repository
from model_zoo.references.transformers import generation, sound, speech, text
from model_zoo.references.transformers.network_class import NetworkClass, Planner
from model_zoo.references.transformers.vision import detection, image, image_text, segmentation

__all__ = ["TASKS", "plan_transformers"]

FAMILIES = (
    text,
    image,
    image_text,
    detection,
    segmentation,
    generation,
    sound,
    speech,
)
PLANNERS: Mapping[str, Planner] = {end: plan for family in FAMILIES for end, plan in family.PLANNERS.items()}
"""Endings of the classes that ``architectures`` names → who plans the card. The longest ending that fits counts."""

TASKS = tuple(task for family in FAMILIES for task in family.TASKS)


def plan_transformers(repository: Repository, config: dict[str, Any], given: Given) -> CardPlan:
    """The plan of a network by the class that its configuration names. Raises NotDerivable."""
    named = config.get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else ""
    end = max((end for end in PLANNERS if kind.endswith(end)), key=len, default="")
    if not end:
        raise NotDerivable(
            repository.name,
            f"its config.json names the network {kind[:80]!r}; Zoo takes those that end in "
            f"{', '.join(PLANNERS)}, and encoders with modules.json of sentence-transformers",
        )
    return PLANNERS[end](NetworkClass(repository, config, given, kind))
