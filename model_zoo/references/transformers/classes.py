"""The classes that a classifier of any input names."""

from typing import Any

from model_zoo.references.common_fields import class_names, positive
from model_zoo.references.transformers.network_class import NetworkClass, listed_names

__all__ = ["class_fields"]


def class_fields(network: NetworkClass) -> tuple[int, dict[str, Any]]:
    """The number of classes, and the fields of their names. Raises NotDerivable."""
    config = network.config
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise network.refuse(f"its problem_type is {str(config['problem_type'])[:50]}, which Zoo does not have")
    found = listed_names(config)
    count = len(found) or positive(network.repository, config.get("num_labels", 2), "num_labels in config.json")
    if count < 2:
        raise network.refuse("its network gives one number, not classes")
    names = class_names(network.repository, found, count, network.given)
    return count, {"labels": "labels.txt", "class_names": names}
