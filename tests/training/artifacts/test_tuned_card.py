"""The card of a tuned version: its signature and its tolerances."""

from pathlib import Path

import pytest

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe, NumberColumn, RecordRecipe, RowRecipe, SeriesRecipe
from model_zoo.cards.tuned_parts import HeadSpec, TargetScale
from model_zoo.catalog import Catalog
from service.tasks.image.pixels import pixels_input
from service.training.artifacts.tuned_card import tuned_card
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.verification.probes import Comparison, closeness_problem

HEAD = HeadSpec(kind="linear", inputs=4, outputs=3)


LABELS = ("cat", "two\nlines", "<b>dog</b>")


def order(tmp_path: Path, method: Method = Method.HEAD, incumbent: Path | None = None) -> WorkOrder:
    spec = JobSpec(base="efficientnet_lite0", dataset_id="d1", model="mine", task="image-classification", method=method)
    return WorkOrder(job_id="j1", spec=spec, home=tmp_path, rival=incumbent)


def base() -> Card:
    return Catalog.from_package().get("efficientnet_lite0")


def test_record_card_has_image_and_column_inputs(tmp_path: Path) -> None:
    recipe = base().recipe
    assert isinstance(recipe, ImageRecipe)
    row = RowRecipe(kind="row", numbers=(NumberColumn(name="rooms", mean=0, std=1, fill=0),))
    head = HeadSpec(kind="linear", inputs=5, outputs=1, output="value", columns=1)
    scale = TargetScale(mean=1, std=2)
    card = tuned_card(
        base(),
        order(tmp_path),
        task="image-tabular-regression",
        labels=(),
        head=head,
        target=scale,
        recipe=RecordRecipe(kind="record", image=recipe, row=row),
        parameters=5,
    )
    assert [(spec.name, spec.shape) for spec in card.signature.inputs] == [
        ("pixel_values", (-1, 3, 224, 224)),
        ("columns", (-1, 1)),
    ]
    assert card.raw_input == "record"
    assert card.labels is None
    assert [spec.name for spec in card.signature.outputs] == ["value"]


def test_forecast_card_has_horizon_and_channels(tmp_path: Path) -> None:
    recipe = SeriesRecipe(kind="series", context=24, horizon=6, channels=2)
    card = tuned_card(
        Catalog.from_package().get("series_gru"),
        order(tmp_path, Method.FULL),
        task="time-series-forecasting",
        labels=(),
        recipe=recipe,
        parameters=5,
    )
    assert card.signature.inputs[0].shape == (-1, 24, 2)
    assert card.signature.outputs[0].shape == (-1, 6, 2)


def test_tolerance_is_relative_to_output_size(tmp_path: Path) -> None:
    card = tuned_card(
        base(), order(tmp_path), task="image-classification", labels=LABELS, head=HEAD, parameters=5, output_size=40.0
    )
    assert card.tolerance.max_abs_error == pytest.approx(0.04)
    assert card.tolerance.compiled.max_abs_error is None
    assert card.tolerance.reduced_precision.max_abs_error is None  # classes are compared by the top class


@pytest.mark.parametrize(("output_size", "most"), [(0.2, 0.05), (40.0, 2.0)])
def test_reduced_precision_of_number_is_bounded_by_its_error(tmp_path: Path, output_size: float, most: float) -> None:
    """No bound on the cosine: the cosine of a single number is its sign."""
    card = tuned_card(
        base(), order(tmp_path), task="regression", labels=(), parameters=5, target=TargetScale(mean=1, std=2),
        head=HeadSpec(kind="linear", inputs=5, outputs=1, output="value"), output_size=output_size,
    )  # fmt: skip
    for precision in ("fp32", "bf16"):
        allowed = most if precision == "bf16" else card.tolerance.max_abs_error
        for error, fine in ((0.9 * allowed, True), (1.1 * allowed, False)):
            found = Comparison(error, -1.0, None)  # the opposite sign
            assert (closeness_problem(card, precision, found) is None) == fine


@pytest.mark.parametrize("method", [Method.HEAD, Method.FULL])
def test_tuned_classifier_takes_the_pixels_of_its_base(tmp_path: Path, method: Method) -> None:
    head = HEAD if method is Method.HEAD else None
    card = tuned_card(
        base(), order(tmp_path, method), task="image-classification", labels=LABELS, head=head, parameters=5
    )
    of_base, own = pixels_input(base()), pixels_input(card)
    assert of_base is not None
    assert own is not None
    assert (own.spec, own.replaces, card.recipe) == (of_base.spec, of_base.replaces, base().recipe)
