"""Repository → plan of a card, by the layout of the repository."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from model_zoo import strict_json
from model_zoo.cards.weight_source import SourceFile
from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.adapter import ADAPTER_CONFIG
from model_zoo.references.card_plan import CardPlan, Given, check_task
from model_zoo.references.repository import Repository, check_config, config_of
from model_zoo.references.sentence_transformers_card import plan_sentence_transformers
from model_zoo.references.timm_card import plan_timm
from model_zoo.references.torchvision.card import plan_torchvision
from model_zoo.references.torchvision.published import TorchvisionWeights
from model_zoo.references.transformers import card as transformers_card
from model_zoo.references.transformers.ranker import CROSS_ENCODER
from model_zoo.references.weight_files import onnx_instead

__all__ = ["derive"]

Planner = Callable[[Repository, dict[str, Any], Given], CardPlan]


def derive(repository: Repository, given: Given = Given()) -> CardPlan:  # noqa: B008 - frozen
    """The plan of a card for a repository.

    Raises:
        NotDerivable: the repository asks for code of its own, has a layout or a task that Zoo does not have, or lacks something
            that ``given`` does not say.
        SourceUnavailable: a file cannot be read.
    """
    if given.task:
        check_task(given.task, repository.name)
    match repository:
        case TorchvisionWeights():
            plan = plan_torchvision(repository, given)
        case _:
            plan = _plan(repository, given)
    task = str(plan.fields["task"])
    if given.task and given.task != task:
        raise NotDerivable(repository.name, f"its network is for {task}, not for {given.task}")
    _check(repository, plan)
    return plan


def _plan(repository: Repository, given: Given) -> CardPlan:
    """The plan by the configuration of a repository. Raises as `derive`."""
    config = config_of(repository, "config.json")
    if "auto_map" in config:
        raise NotDerivable(repository.name, "its config.json asks to run code of the repository (auto_map)")
    if ADAPTER_CONFIG in repository.files:
        raise NotDerivable(repository.name, "it is an adapter (peft) without its base")
    check_config(repository, config)
    try:
        return _planner(repository, config)(repository, config, given)
    except (NotDerivable, SourceUnavailable):
        raise
    except Exception as error:  # a file of another form than its library writes
        kind = type(error).__name__
        raise NotDerivable(
            repository.name, f"its files have another form than their library writes ({kind})"
        ) from error


def _check(repository: Repository, plan: CardPlan) -> None:
    """Raises NotDerivable where the facts of the repository make no valid card, before anything large is fetched."""
    for path in plan.roles.values():
        if repository.files[path].size < 1:
            raise NotDerivable(repository.name, f"{path} is empty")
    files = {role: SourceFile(path=path, sha256="0" * 64, bytes=1) for role, path in plan.roles.items()}
    try:
        card = plan.card({"kind": "local", "folder": "."}, files)
        strict_json.text(card).encode()
    except ValueError as error:
        if not isinstance(error, ValidationError):
            raise NotDerivable(repository.name, "its files hold text or numbers that no card can hold") from error
        fault = error.errors()[0]
        field = ".".join(str(step) for step in fault["loc"])
        raise NotDerivable(repository.name, f"its files make no valid card: {field}: {fault['msg']}") from error


def _is_cross_encoder(repository: Repository) -> bool:
    """Whether sentence-transformers wrote the repository for scores of pairs; its layout is then that of transformers."""
    return config_of(repository, "config_sentence_transformers.json").get("model_type") == CROSS_ENCODER


def _planner(repository: Repository, config: dict[str, Any]) -> Planner:
    if "modules.json" in repository.files and not _is_cross_encoder(repository):
        return plan_sentence_transformers
    if "pretrained_cfg" in config:
        return plan_timm
    if "model_type" in config:
        return transformers_card.plan_transformers
    raise NotDerivable(
        repository.name,
        "it has neither modules.json nor a config.json of transformers or timm, so nothing says what it is"
        + onnx_instead(repository),
    )
