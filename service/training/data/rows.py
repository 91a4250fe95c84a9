"""The recipes of a job's table rows, alone or beside an image, with the columns as the training rows have them."""

from __future__ import annotations

from model_zoo.cards.recipes import ImageRecipe, RecordRecipe, RowRecipe
from service.training.data.columns import row_recipe
from service.training.training_job import TrainingJob
from service.types import RecordInstance, RowInstance


def table_recipe(job: TrainingJob) -> RowRecipe:
    """How the rows of a table, or of a table with images, are read."""
    rows = [row_of(job, index).cells for index in job.splits["train"]]
    return row_recipe(job.info.inputs, rows, job.info.columns)


def record_recipe(job: TrainingJob) -> RecordRecipe | None:
    """How images and rows are read together; None if the examples have no rows."""
    if job.task != "image-tabular-regression":
        return None
    assert isinstance(job.base.recipe, ImageRecipe)
    return RecordRecipe(kind="record", image=job.base.recipe, row=table_recipe(job))


def known_table_recipe(job: TrainingJob) -> RowRecipe | None:
    """How a base with trained weights reads rows, with the columns of this job that are no inputs; None for another base."""
    if not isinstance(job.base.recipe, RowRecipe):
        return None
    roles = job.info.columns
    ignored = tuple(filter(None, (roles.split, *roles.ignored)))
    return job.base.recipe.model_copy(update={"target": roles.target, "ignored": ignored})


def row_of(job: TrainingJob, index: int) -> RowInstance:
    """The row of an example, alone or beside an image."""
    instance = job.examples[index].instance
    row = instance.parts["row"] if isinstance(instance, RecordInstance) else instance
    assert isinstance(row, RowInstance)
    return row
