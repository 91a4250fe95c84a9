"""The card of a tuned version: the base's card with the changes of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from model_zoo.cards.card import Card, Closeness
from model_zoo.cards.recipes import ImageRecipe, Recipe, RecordRecipe, RowRecipe, SeriesRecipe
from model_zoo.cards.signature import Signature, TensorSpec
from model_zoo.cards.tuned_parts import AdapterSpec, HeadSpec, TargetScale
from model_zoo.cards.weight_source import SourceFile, TunedSource, WeightsRecipe
from service.tasks.image.image_tabular_regression import record_inputs
from service.tasks.series.time_series_forecasting import series_inputs, series_output
from service.tasks.tabular.row_input import row_inputs
from service.training.evaluation.measurements import is_classification
from service.training.job_spec import OBJECT_DETECTION, SEGMENTATION, TOKEN_CLASSIFICATION, Method, WorkOrder

NO_DIGEST = "0" * 64
LABELS = "labels.txt"
FORECASTING = "time-series-forecasting"
RELATIVE_TOLERANCE = 1e-3
"""Of the largest output: another batch size, another kernel or a compiler may change an output by so much."""
REDUCED_TOLERANCE = 0.05
"""Of the largest output, or of a target's spread if that is larger: bf16 or fp16 may change a number by so much."""
LABELLED_PARTS = (TOKEN_CLASSIFICATION, OBJECT_DETECTION, SEGMENTATION)
"""Tasks with labels for parts of an example."""
METHODS: dict[Method, Literal["head", "full", "lora"]] = {
    Method.HEAD: "head",
    Method.FULL: "full",
    Method.LORA: "lora",
}
RAW_INPUTS: dict[str, Literal["image", "text", "audio", "row", "series", "record"]] = {
    "image": "image",
    "text": "text",
    "characters": "text",
    "audio": "audio",
    "sound": "audio",
    "spectrogram": "audio",
    "filter_bank": "audio",
    "row": "row",
    "series": "series",
    "record": "record",
}


def tuned_card(
    base: Card,
    order: WorkOrder,
    *,
    task: str,
    labels: tuple[str, ...],
    head: HeadSpec | None = None,
    adapter: AdapterSpec | None = None,
    target: TargetScale | None = None,
    recipe: Recipe | None = None,
    parameters: int,
    base_digest: str = NO_DIGEST,
    output_size: float = 1.0,
    files: Mapping[str, SourceFile] | None = None,
    multi_label: bool = False,
    output: TensorSpec | None = None,
) -> Card:
    """The base's card with the changes of fine-tuning. `write_result` adds `source.files`.

    Args:
        labels: class names in the order of the logits; empty if the answer is not a class.
        recipe: if it differs from the base's: of a record, a table or a series.
        parameters: of the whole network as it is served.
        base_digest: sha256 of the base's weights; zeros for a base without weights.
        multi_label: whether each class is decided alone.
        output: of a network whose output neither the base nor the task tells.
        output_size: the largest output on the golden items, which the tolerance is relative to.
    """
    recipe = base.recipe if recipe is None else recipe
    method = order.spec.method
    tolerance = max(base.tolerance.max_abs_error, RELATIVE_TOLERANCE * output_size)
    # Validated again: values from a user's data must satisfy the rules of every card.
    return Card.model_validate(
        {
            **dict(base),
            "name": order.spec.model,
            "task": task,
            "default": False,
            "summary": f"{base.name}, tuned by {method.value} for {task}."
            + (f" {len(labels)} classes." if labels else ""),
            "provenance": f"Tuned by job {order.job_id} on data set {order.spec.dataset_id}. The base: {base.provenance}",
            "parameters": parameters,
            # Facts about the base itself, where it was pulled.
            "reference": "",
            "verification": None,
            "figures": (),
            "class_names": (),
            "activation": "sigmoid" if multi_label else "softmax",
            "source": TunedSource(
                kind="tuned", base=base.name, base_digest=base_digest, method=METHODS[method], files=dict(files or {})
            ),
            "weights": WeightsRecipe(format="safetensors", mapping="by_name"),
            "head": head,
            "adapter": adapter,
            "target": target,
            "raw_input": RAW_INPUTS[recipe.kind],
            "signature": Signature(
                inputs=_inputs(base, recipe),
                outputs=_outputs(base, task, labels, head, recipe) if output is None else (output,),
            ),
            "recipe": recipe,
            "labels": LABELS if is_classification(task) or task in LABELLED_PARTS else None,
            "tolerance": base.tolerance.model_copy(
                update={
                    "max_abs_error": tolerance,
                    "compiled": _closeness(base.tolerance.compiled, task, None),
                    "reduced_precision": _closeness(
                        base.tolerance.reduced_precision, task, REDUCED_TOLERANCE * max(1.0, output_size)
                    ),
                }
            ),
            "golden": (),
        }
    )


def with_arguments(base: Card, arguments: Mapping[str, Any]) -> Card:
    """The base's card with these arguments of its architecture, for a network that starts untrained."""
    architecture = base.architecture
    merged = {**architecture.arguments, **arguments}
    return base.model_copy(update={"architecture": architecture.model_copy(update={"arguments": merged})})


def _closeness(closeness: Closeness, task: str, max_error: float | None) -> Closeness:
    """The base's closeness without its bound on absolute errors, which is in the units of the base's outputs.

    For an answer that is a number only its error counts, at most `max_error`: the cosine of a single number is its sign, and
    there is no top class.
    """
    if is_classification(task) or task in ("text-generation", *LABELLED_PARTS):
        return closeness.model_copy(update={"max_abs_error": None})
    least = closeness.min_cosine if task == FORECASTING else -1.0
    return closeness.model_copy(update={"max_abs_error": max_error, "min_cosine": least})


def _inputs(base: Card, recipe: Recipe) -> tuple[TensorSpec, ...]:
    match recipe:
        case RowRecipe():
            return row_inputs(recipe)
        case SeriesRecipe():
            return series_inputs(recipe)
        case RecordRecipe():
            assert isinstance(base.recipe, ImageRecipe)
            return record_inputs(recipe, base.signature.inputs[0])
    return base.signature.inputs


def _outputs(
    base: Card, task: str, labels: tuple[str, ...], head: HeadSpec | None, recipe: Recipe
) -> tuple[TensorSpec, ...]:
    if task == OBJECT_DETECTION:
        logits, *boxes = base.signature.outputs
        return (logits.model_copy(update={"shape": (*logits.shape[:-1], len(labels))}), *boxes)
    return (_output(base, task, labels, head, recipe),)


def _output(base: Card, task: str, labels: tuple[str, ...], head: HeadSpec | None, recipe: Recipe) -> TensorSpec:
    if task == TOKEN_CLASSIFICATION:
        return TensorSpec(name="logits", datatype="FP32", shape=(-1, -1, len(labels)))
    if is_classification(task):
        name = "logits" if head is None else head.output
        return TensorSpec(name=name, datatype="FP32", shape=(-1, len(labels)))
    if isinstance(recipe, SeriesRecipe):
        return series_output(recipe)
    if task == "text-generation":
        return base.signature.outputs[0]
    return TensorSpec(name="value" if head is None else head.output, datatype="FP32", shape=(-1, 1))
