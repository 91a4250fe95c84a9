"""What a frozen backbone is shown of an example, and who prepares it, in the server and in a worker alike. No torch here."""

from __future__ import annotations

from model_zoo.cards.card import Card
from model_zoo.materialised import Materialised
from service.datasets.dataset import Example
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Instance, RecordInstance


def features_task(base: Card, files: Materialised) -> Task:
    """Prepares examples as the tuned version will: as its base does, save for a base that writes text, which reads otherwise."""
    if base.task == "text-generation":
        base = base.model_copy(update={"task": "text-classification", "labels": None})
    return task_for(base, files)


def base_instance(example: Example) -> Instance:
    """What of an example the backbone sees: of a record, the picture."""
    instance = example.instance
    return instance.parts["image"] if isinstance(instance, RecordInstance) else instance
