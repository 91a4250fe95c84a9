"""The card of a version that a job has made: the base's, with what tuning changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from model_zoo.cards.card import Card, Closeness
from model_zoo.cards.recipes import ImageRecipe, Recipe, RecordRecipe, RowRecipe, SeriesRecipe
from model_zoo.cards.signature import Signature, TensorSpec
from model_zoo.cards.tuned_parts import AdapterSpec, HeadSpec, TargetScale
from model_zoo.cards.weight_source import SourceFile, TunedSource, WeightsRecipe
from service.tasks.image.image_tabular_regression import record_inputs
from service.tasks.series.time_series_forecasting import series_inputs, series_output
from service.tasks.tabular.row_input import row_inputs
from service.training.evaluation.evaluate import is_classification
from service.training.job_spec import Method, WorkOrder

NO_DIGEST = "0" * 64
LABELS = "labels.txt"
FORECASTING = "time-series-forecasting"
RELATIVE_TOLERANCE = 1e-3
"""Of the largest output that was seen: what another batch, another kernel or a compiler may change."""
REDUCED = 0.05
"""Of the largest output, or of a target's spread, where that is more: what bf16 or fp16 may change of a number."""
METHODS: dict[Method, Literal["head", "full", "lora"]] = {
    Method.HEAD: "head",
    Method.FULL: "full",
    Method.LORA: "lora",
}
RAW: dict[str, Literal["image", "text", "audio", "row", "series", "record"]] = {
    "image": "image",
    "text": "text",
    "characters": "text",
    "audio": "audio",
    "spectrogram": "audio",
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
) -> Card:
    """The base's card with what tuning changed. `write_result` fills in `source.files`, which it alone knows.

    Args:
        labels: class names in the order of the logits; empty where the answer is no class.
        recipe: where it is another than the base's: a record's, a table's, a series'.
        parameters: numbers of the whole network as served.
        base_digest: sha256 of the base's weights; zeros for a base without.
        output_size: largest output on the golden items; the tolerance follows it.
    """
    recipe = base.recipe if recipe is None else recipe
    method = order.spec.method
    tolerance = max(base.tolerance.max_abs_error, RELATIVE_TOLERANCE * output_size)
    # By parts, and validated anew: what comes from a user's data must fit the rules that hold for every card.
    return Card.model_validate(
        {
            **{name: getattr(base, name) for name in Card.model_fields},
            "name": order.spec.model,
            "task": task,
            "default": False,
            "summary": f"{base.name}, tuned by {method.value} for {task}."
            + (f" {len(labels)} classes." if labels else ""),
            "provenance": f"Tuned by job {order.job_id} on data set {order.spec.dataset_id}. The base: {base.provenance}",
            "parameters": parameters,
            "source": TunedSource(
                kind="tuned", base=base.name, base_digest=base_digest, method=METHODS[method], files=dict(files or {})
            ),
            "weights": WeightsRecipe(format="safetensors", mapping="by_name"),
            "head": head,
            "adapter": adapter,
            "target": target,
            "raw_input": RAW[recipe.kind],
            "signature": Signature(inputs=_inputs(base, recipe), outputs=(_output(base, task, labels, head, recipe),)),
            "recipe": recipe,
            "labels": LABELS if is_classification(task) else None,
            "tolerance": base.tolerance.model_copy(
                update={
                    "max_abs_error": tolerance,
                    "compiled": _closeness(base.tolerance.compiled, task, None),
                    "reduced_precision": _closeness(
                        base.tolerance.reduced_precision, task, REDUCED * max(1.0, output_size)
                    ),
                }
            ),
            "golden": (),
        }
    )


def _closeness(closeness: Closeness, task: str, numbers: float | None) -> Closeness:
    """The base's, without its bound on absolute errors, which was in the units of its own outputs.

    Where the answer is a number, its error is all that counts, `numbers` at most: of a single number the cosine is its sign, and
    there is no first class.
    """
    if is_classification(task) or task == "text-generation":
        return closeness.model_copy(update={"max_abs_error": None})
    least = closeness.min_cosine if task == FORECASTING else -1.0
    return closeness.model_copy(update={"max_abs_error": numbers, "min_cosine": least})


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


def _output(base: Card, task: str, labels: tuple[str, ...], head: HeadSpec | None, recipe: Recipe) -> TensorSpec:
    if is_classification(task):
        name = "logits" if head is None else head.output
        return TensorSpec(name=name, datatype="FP32", shape=(-1, len(labels)))
    if isinstance(recipe, SeriesRecipe):
        return series_output(recipe)
    if task == "text-generation":
        return base.signature.outputs[0]
    return TensorSpec(name="value" if head is None else head.output, datatype="FP32", shape=(-1, 1))
