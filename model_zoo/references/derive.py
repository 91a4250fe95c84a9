"""Repository → plan of a card, by the layout of the repository."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from model_zoo import strict_json
from model_zoo.cards.weight_source import SourceFile
from model_zoo.errors import NotDerivable, SourceUnavailable, panics_as_errors
from model_zoo.references.adapter import ADAPTER_CONFIG
from model_zoo.references.card_plan import CardPlan, Given, check_task
from model_zoo.references.repository import Repository, check_config, config_of
from model_zoo.references.sentence_transformers_card import encoder_folder, plan_sentence_transformers
from model_zoo.references.timm_card import plan_timm
from model_zoo.references.torchvision.card import plan_torchvision
from model_zoo.references.torchvision.published import TorchvisionWeights
from model_zoo.references.transformers import card as transformers_card
from model_zoo.references.transformers.ranker import CROSS_ENCODER
from model_zoo.references.weight_files import WithWeights, onnx_instead, weights_problem

__all__ = ["derive"]

Planner = Callable[[Repository, dict[str, Any], Given], CardPlan]


def derive(repository: Repository, given: Given = Given()) -> CardPlan:  # noqa: B008 - frozen
    """The plan of a card for a repository.

    All problems that its lists and its small files show are told at once: those that nobody can answer, then what a user may
    state.

    Raises:
        NotDerivable: the repository asks for code of its own, has a layout or a task that Zoo does not have, or lacks something
            that ``given`` does not say.
        SourceUnavailable: a file cannot be read.
    """
    if given.task:
        check_task(given.task, repository.name)
    given, problems, plan = replace(given, asked=[]), list[NotDerivable](), None
    try:
        match repository:
            case TorchvisionWeights():
                plan = plan_torchvision(repository, given)
            case _:
                plan = _plan(repository, given, problems)
    except NotDerivable as problem:
        problems.append(problem)
    if plan is not None and given.task and given.task != plan.fields["task"]:
        reason = f"its network is for {plan.fields['task']}, not for {given.task}"
        problems.append(NotDerivable(repository.name, reason))
    if problems or given.asked or plan is None:
        raise all_problems(repository.name, [*problems, *given.asked])
    _check(repository, plan)
    return plan


def _plan(repository: Repository, given: Given, problems: list[NotDerivable]) -> CardPlan:
    """The plan by the configuration of a repository. Problems that do not end the planning are added to the list. Raises as
    `derive`."""
    config = config_of(repository, "config.json")
    layout = ADAPTER_CONFIG not in repository.files and _has_layout(repository, config)
    folder = encoder_folder(repository) if layout and _planner(repository, config) is plan_sentence_transformers else ""
    if layout and (lacking := weights_problem(repository, folder)):
        problems.append(lacking)
        repository = WithWeights(repository, folder)
    if "auto_map" in config:
        raise NotDerivable(repository.name, "its config.json asks to run code of the repository (auto_map)")
    if ADAPTER_CONFIG in repository.files:
        raise NotDerivable(repository.name, "it is an adapter (peft) without its base")
    check_config(repository, config)
    try:
        with panics_as_errors():
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
        got = fault.get("input")
        value = f", got {str(got)[:40]}" if isinstance(got, int | float | str) else ""
        raise NotDerivable(repository.name, f"its files make no valid card: {field}: {fault['msg']}{value}") from error


def all_problems(name: str, problems: Sequence[NotDerivable]) -> NotDerivable:
    """One error for all problems of a repository: first those without an option that would solve them."""
    ordered = sorted(problems, key=lambda problem: bool(problem.option))
    if len(ordered) == 1:
        return ordered[0]
    told = [f"{one.reason} (give {one.option})" if one.option else one.reason for one in ordered]
    return NotDerivable(name, "; ".join(f"({i}) {text}" for i, text in enumerate(told, 1)))


def _is_cross_encoder(repository: Repository) -> bool:
    """Whether sentence-transformers wrote the repository for scores of pairs; its layout is then that of transformers."""
    return config_of(repository, "config_sentence_transformers.json").get("model_type") == CROSS_ENCODER


def _has_layout(repository: Repository, config: dict[str, Any]) -> bool:
    return "modules.json" in repository.files or bool(config.keys() & {"pretrained_cfg", "model_type"})


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
