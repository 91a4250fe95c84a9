"""Cards as a fine-tuning job writes them for tables, series and records."""

from typing import Any

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import CategoryColumn, ImageRecipe, NumberColumn, RecordRecipe, RowRecipe, SeriesRecipe
from model_zoo.cards.signature import Signature, TensorSpec
from model_zoo.cards.tuned_parts import ForecastScale, TargetScale
from model_zoo.catalog import Catalog
from service.tasks.image.image_tabular_regression import record_inputs
from service.tasks.series.time_series_forecasting import series_arguments, series_inputs, series_output
from service.tasks.tabular.row_input import row_arguments, row_inputs

FLATS = RowRecipe(
    kind="row",
    numbers=(NumberColumn(name="area", mean=70, std=20, fill=65), NumberColumn(name="rooms", mean=3, std=1, fill=3)),
    categories=(
        CategoryColumn(name="town", categories=("Bonn", "Köln", "Ulm")),
        CategoryColumn(name="lift", categories=("false", "true")),
    ),
)
NUMBERS_ALONE = FLATS.model_copy(update={"categories": ()})
CATEGORIES_ALONE = FLATS.model_copy(update={"numbers": ()})


def table_card(recipe: RowRecipe = FLATS, classes: int = 0, target: TargetScale | None = None, **sizes: int) -> Card:
    """`tabular_mlp` tuned on such rows: for `classes` classes or, with 0, for a number."""
    base = Catalog.from_package().get("tabular_mlp")
    output = TensorSpec(name="logits" if classes else "value", datatype="FP32", shape=(-1, classes or 1))
    arguments: dict[str, Any] = {**base.architecture.arguments, **row_arguments(recipe), "outputs": classes or 1}
    return base.model_copy(
        update={
            "name": "my_table",
            "task": "tabular-classification" if classes else "tabular-regression",
            "recipe": recipe,
            "target": target,
            "signature": Signature(inputs=row_inputs(recipe), outputs=(output,)),
            "architecture": base.architecture.model_copy(update={"arguments": arguments | sizes}),
        }
    )


def series_card(context: int = 12, horizon: int = 3, channels: int = 1, scale: ForecastScale | None = None) -> Card:
    """`series_gru` tuned on such series."""
    base = Catalog.from_package().get("series_gru")
    recipe = SeriesRecipe(kind="series", context=context, horizon=horizon, channels=channels)
    arguments = {**base.architecture.arguments, **series_arguments(recipe)}
    return base.model_copy(
        update={
            "name": "my_series",
            "recipe": recipe,
            "forecast": scale,
            "signature": Signature(inputs=series_inputs(recipe), outputs=(series_output(recipe),)),
            "architecture": base.architecture.model_copy(update={"arguments": arguments}),
        }
    )


def record_card(row: RowRecipe = FLATS, target: TargetScale | None = None) -> Card:
    """`efficientnet_lite0` tuned to predict a number from a photo and such rows."""
    base = Catalog.from_package().get("efficientnet_lite0")
    assert isinstance(base.recipe, ImageRecipe)
    recipe = RecordRecipe(kind="record", image=base.recipe, row=row)
    output = TensorSpec(name="value", datatype="FP32", shape=(-1, 1))
    return base.model_copy(
        update={
            "name": "my_records",
            "task": "image-tabular-regression",
            "raw_input": "record",
            "recipe": recipe,
            "labels": None,
            "target": target,
            "signature": Signature(inputs=record_inputs(recipe, base.signature.inputs[0]), outputs=(output,)),
        }
    )
