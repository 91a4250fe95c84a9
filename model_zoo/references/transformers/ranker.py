"""Networks that score how well two texts go together: classifiers of transformers with one class, and repositories of
``CrossEncoder`` of sentence-transformers."""

from collections.abc import Callable
from typing import Any

from model_zoo import strict_json
from model_zoo.references.card_plan import CardPlan
from model_zoo.references.repository import config_of
from model_zoo.references.text_fields import has_token_types
from model_zoo.references.transformers.network_class import NetworkClass, listed_names

__all__ = ["CROSS_ENCODER", "RANKING", "is_cross_encoder", "plan_ranker"]

RANKING = "text-ranking"
CROSS_ENCODER = "CrossEncoder"
"""``model_type`` in the settings of sentence-transformers."""

_SETTINGS = "config_sentence_transformers.json"
_FILES = ("modules.json", _SETTINGS, "sentence_bert_config.json")
_ACTIVATIONS = {"Sigmoid": "sigmoid", "Identity": "identity"}
_LARGEST_ROUNDING = {"sigmoid": 0.05, "identity": 0.25}
"""Of a score in bf16 or fp16. A cosine says nothing about a single number."""


def is_cross_encoder(network: NetworkClass) -> bool:
    """Whether the repository says that its network scores pairs of texts."""
    config = network.config
    settings = config_of(network.repository, _SETTINGS)
    stated = settings.get("model_type") == CROSS_ENCODER or bool(
        config.keys() & {"sentence_transformers", "sbert_ce_default_activation_function"}
    )
    return stated and _count(network) == 1


def plan_ranker(network: NetworkClass, text_plan: Callable[..., CardPlan]) -> CardPlan:
    """The plan of a network that scores pairs. Raises NotDerivable.

    Args:
        text_plan: makes the plan of any network for texts.
    """
    repository = network.repository
    if _count(network) != 1:
        raise network.refuse(f"its network gives {_count(network):,} numbers for a pair of texts; a ranking needs one")
    if "modules.json" in repository.files and len(_modules(network)) != 1:
        raise network.refuse("its modules.json has more modules than the network itself")
    if config_of(repository, _SETTINGS).get("default_prompt_name"):
        raise network.refuse("its makers put a prompt in front of every text, which Zoo does not have for pairs")
    activation = _activation(network)
    fields, built = network.fields(RANKING, "AutoModelForSequenceClassification", num_labels=1)
    rounding = {"max_flips": 0.0, "min_cosine": -1.0}
    fields |= {
        "activation": activation,
        "tolerance": {
            **fields["tolerance"],
            "compiled": rounding,
            "reduced_precision": {**rounding, "max_abs_error": _LARGEST_ROUNDING[activation]},
            "int8": {**rounding, "max_abs_error": 2 * _LARGEST_ROUNDING[activation]},
        },
    }
    types = has_token_types(repository, network.config, built)
    outputs = [{"name": "score", "datatype": "FP32", "shape": (-1, 1)}]
    plan = text_plan(network, fields, outputs, pairs=True, types=types)
    extra = (*plan.extra, *(name for name in _FILES if name in repository.files))
    return CardPlan("sentence-transformers", plan.fields, plan.roles, extra)


def _modules(network: NetworkClass) -> list[Any]:
    try:
        return list(strict_json.read(network.repository.read("modules.json")))
    except (ValueError, TypeError) as error:
        raise network.refuse("modules.json is not a list of modules") from error


def _count(network: NetworkClass) -> int:
    """Numbers that the network gives; 0 where its configuration does not say."""
    found: Any = len(listed_names(network.config)) or network.config.get("num_labels", 0)
    return found if isinstance(found, int) else 0


def _activation(network: NetworkClass) -> str:
    """What makes the score of the logit: as the settings say, a sigmoid where they say nothing. Raises NotDerivable."""
    config = network.config
    own: Any = config.get("sentence_transformers")
    named = (
        config_of(network.repository, _SETTINGS).get("activation_fn")
        or (own.get("activation_fn") if isinstance(own, dict) else None)
        or config.get("sbert_ce_default_activation_function")
        or "torch.nn.modules.activation.Sigmoid"
    )
    found = _ACTIVATIONS.get(str(named).rpartition(".")[2]) if str(named).startswith("torch.nn.") else None
    if found is None:
        raise network.refuse(f"its scores are made by {str(named)[:80]!r}; Zoo has Sigmoid and Identity of torch")
    return found
