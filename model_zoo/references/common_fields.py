"""Fields that derived cards have in common."""

from typing import Any, Literal

from torch import nn

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import Given, check_class_names
from model_zoo.references.repository import Repository

__all__ = ["class_names", "common_fields", "family_of", "parameters_of", "positive"]

_NOT_READ = "not stated in what Zoo reads; see the page of the repository"


def common_fields(repository: Repository, task: str, summary: str) -> dict[str, Any]:
    """Licence, provenance and the like. The name is put in place when the model is pulled."""
    return {
        "name": "model",
        "task": task,
        "summary": summary,
        "default": False,
        "licence": {"package": repository.licence, "weights": repository.licence},
        "provenance": f"The files of {repository.name} as they were pulled. Training data: {_NOT_READ}.",
        "paper": _NOT_READ,
    }


def family_of(network: nn.Module) -> Literal["cnn", "rnn", "transformer", "mlp"]:
    """The family of a network, by the kinds of its layers."""
    kinds = [type(module) for module in network.modules()]
    # Attention over channels ("squeeze and excite") does not make a Transformer; its layers are not called attention.
    if any("Attention" in kind.__name__ and "Pool" not in kind.__name__ for kind in kinds):
        return "transformer"
    if any(issubclass(kind, nn.RNNBase | nn.RNNCellBase) for kind in kinds):
        return "rnn"
    return "cnn" if any(issubclass(kind, nn.Conv1d | nn.Conv2d | nn.Conv3d) for kind in kinds) else "mlp"


def parameters_of(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def class_names(repository: Repository, found: tuple[str, ...], count: int, given: Given) -> tuple[str, ...]:
    """Names of the classes: the given ones, else those of the repository. Raises NotDerivable where they do not fit."""
    names = given.labels or found
    if not names:
        reason = f"it does not name its {count:,} classes"
        given.ask(NotDerivable(repository.name, reason, "--labels FILE, a name a line"))
        return tuple(f"class {i}" for i in range(count))
    if len(names) != count:
        raise NotDerivable(repository.name, f"its network has {count:,} classes, but {len(names):,} are named")
    check_class_names(names, repository.name)
    return names


def positive(repository: Repository, value: Any, what: str) -> int:
    """A count of a configuration. Raises NotDerivable for anything but a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise NotDerivable(repository.name, f"{what} is {str(value)[:50]}; expected a positive whole number")
    return value
