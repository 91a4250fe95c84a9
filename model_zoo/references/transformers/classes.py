"""The classes that a classifier of any input names."""

from typing import Any

from model_zoo.references.common_fields import class_names, positive
from model_zoo.references.transformers.network_class import NetworkClass, listed_names

__all__ = ["class_fields"]

_ACTIVATIONS = {"single_label_classification": "softmax", "multi_label_classification": "sigmoid"}
"""By ``problem_type``."""


def class_fields(network: NetworkClass) -> tuple[int, dict[str, Any]]:
    """The number of classes, and the fields of their names. Raises NotDerivable."""
    config = network.config
    activation = _ACTIVATIONS.get(str(config.get("problem_type") or "single_label_classification"))
    if activation is None:
        raise network.refuse(f"its problem_type is {str(config['problem_type'])[:50]}, which Zoo does not have")
    found = listed_names(config)
    count = len(found) or positive(network.repository, config.get("num_labels", 2), "num_labels in config.json")
    if count < 2:
        option = "--task text-ranking, if it scores pairs of texts" if "Sequence" in network.kind else ""
        raise network.refuse("its network gives one number, not classes", option)
    names = class_names(network.repository, found, count, network.given)
    return count, {"labels": "labels.txt", "class_names": names, "activation": activation}
