"""The backbone's inputs when features are computed, prepared alike in the server and in a worker. No torch here."""

from __future__ import annotations

from model_zoo.cards.card import Card
from model_zoo.materialised import Materialised
from service.datasets.dataset import Example
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Instance, RecordInstance


def features_task(base: Card, files: Materialised) -> Task:
    """The task that prepares examples as the tuned version will.

    It is the base's task, except for a base that generates text: a classifier reads a whole text, a generator only its end.
    """
    if base.task == "text-generation":
        base = base.model_copy(update={"task": "text-classification", "labels": None})
    return task_for(base, files)


def base_instance(example: Example) -> Instance:
    """The part of an example that the backbone sees: the image of a record, otherwise the whole example."""
    instance = example.instance
    return instance.parts["image"] if isinstance(instance, RecordInstance) else instance
