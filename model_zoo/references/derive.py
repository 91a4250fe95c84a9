"""Repository → plan of a card, by the layout of the repository."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from model_zoo.cards.weight_source import SourceFile
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.repository import Repository, config_of
from model_zoo.references.sentence_transformers_card import plan_sentence_transformers
from model_zoo.references.timm_card import plan_timm
from model_zoo.references.transformers_card import plan_transformers

__all__ = ["TASKS", "derive"]

TASKS = ("feature-extraction", "image-classification", "image-feature-extraction", "text-classification")
"""Tasks of the networks that can be pulled by reference."""

Planner = Callable[[Repository, dict[str, Any], Given], CardPlan]


def derive(repository: Repository, given: Given = Given()) -> CardPlan:  # noqa: B008 - frozen
    """The plan of a card for a repository.

    Raises:
        NotDerivable: the repository asks for code of its own, has a layout or a task that Zoo does not have, or lacks something
            that ``given`` does not say.
        SourceUnavailable: a file cannot be read.
    """
    if given.task and given.task not in TASKS:
        raise NotDerivable(repository.name, f"Zoo does not have the task {given.task!r}; it has {', '.join(TASKS)}")
    config = config_of(repository, "config.json")
    if "auto_map" in config:
        raise NotDerivable(repository.name, "its config.json asks to run code of the repository (auto_map)")
    if "adapter_config.json" in repository.files:
        raise NotDerivable(repository.name, "it is an adapter (peft) without its base")
    plan = _planner(repository, config)(repository, config, given)
    task = str(plan.fields["task"])
    if given.task and given.task != task:
        raise NotDerivable(repository.name, f"its network is for {task}, not for {given.task}")
    _check(repository, plan)
    return plan


def _check(repository: Repository, plan: CardPlan) -> None:
    """Raises NotDerivable where the facts of the repository make no valid card, before anything large is fetched."""
    files = {role: SourceFile(path=path, sha256="0" * 64, bytes=1) for role, path in plan.roles.items()}
    try:
        plan.card({"kind": "local", "folder": "."}, files)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(str(step) for step in fault["loc"])
        raise NotDerivable(repository.name, f"its files make no valid card: {field}: {fault['msg']}") from error


def _planner(repository: Repository, config: dict[str, Any]) -> Planner:
    if "modules.json" in repository.files:
        return plan_sentence_transformers
    if "pretrained_cfg" in config:
        return plan_timm
    if "model_type" in config:
        return plan_transformers
    raise NotDerivable(
        repository.name,
        "it has neither modules.json nor a config.json of transformers or timm, so nothing says what it is",
    )
