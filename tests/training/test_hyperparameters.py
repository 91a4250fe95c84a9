"""Hyperparameters: bounds, default values and overrides."""

from __future__ import annotations

import pytest

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SoundRecipe
from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.training.hyperparameters import Hyperparameters, applicable, bounds_of, default_values, resolve
from service.training.job_spec import Method

CATALOG = Catalog.from_package()


def base(name: str) -> Card:
    return CATALOG.get(name)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("epochs", 0, "expected a whole number, at least 1 and at most 10000, got 0"),
        ("epochs", 2.5, "whole number"),
        ("epochs", "many", "got 'many'"),
        ("learning_rate", -1, "a number, more than 0"),
        ("learning_rate", float("nan"), "a number"),
        ("learning_rate", float("inf"), "a number"),
        ("weight_decay", -0.1, "at least 0"),
        ("augmentation", "wild", "one of none, light, medium, strong"),
        ("batch_size", [1], "whole number"),
        ("rank", 4, "no meaning"),
        ("x" * 10_000, 4, "unknown hyperparameter"),
    ],
)
def test_hyperparameter_out_of_bounds_is_rejected_with_its_bounds(name: str, value: object, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(Method.FULL, "image-classification", base("efficientnet_lite0"), 100, {name: value})
    assert caught.value.field.startswith("spec.hyperparameters.")
    assert says in caught.value.problem
    assert len(str(caught.value)) < 700


def test_learning_rate_far_too_high_is_accepted() -> None:
    hparams = resolve(Method.FULL, "tabular-regression", base("tabular_mlp"), 100, {"learning_rate": 1e9})
    assert hparams.learning_rate == 1e9


def test_integral_float_and_auto_are_accepted() -> None:
    """A protobuf Struct has floats alone."""
    hparams = resolve(
        Method.FULL, "image-classification", base("efficientnet_lite0"), 100, {"epochs": 3.0, "batch_size": "auto"}
    )
    assert hparams.epochs == 3
    assert hparams.batch_size == 16


@pytest.mark.parametrize("name", sorted(Hyperparameters.model_fields))
def test_every_hyperparameter_has_bounds_and_applies_to_some_job(name: str) -> None:
    assert bounds_of(name)
    jobs = [
        (Method.FULL, "image-classification", "efficientnet_lite0"),
        (Method.LORA, "text-classification", "all_minilm_l6_v2"),
        (Method.FULL, "time-series-forecasting", "series_gru"),
        (Method.FULL, "tabular-classification", "tabular_mlp"),
    ]
    assert any(name in applicable(method, task, base(card)) for method, task, card in jobs)


@pytest.mark.parametrize("examples", [10, 5_000, 1_000_000])
@pytest.mark.parametrize(
    ("method", "task", "name"),
    [
        (Method.HEAD, "image-classification", "efficientnet_lite0"),
        (Method.FULL, "image-classification", "efficientnet_lite0"),
        (Method.FULL, "text-classification", "all_minilm_l6_v2"),
        (Method.LORA, "regression", "all_minilm_l6_v2"),
        (Method.FULL, "audio-classification", "speaker_lstm"),
        (Method.FULL, "text-generation", "char_lstm"),
        (Method.FULL, "tabular-regression", "tabular_mlp"),
        (Method.FULL, "time-series-forecasting", "series_gru"),
    ],
)
def test_default_values_are_within_bounds(method: Method, task: str, name: str, examples: int) -> None:
    assert resolve(method, task, base(name), examples, {})
    assert default_values(method, task, base(name), examples)


def test_batch_size_of_the_caller_is_not_accumulated() -> None:
    """The defaults of sounds sum up the gradients of small batches."""
    shipped = base("all_minilm_l6_v2")
    recipe = SoundRecipe.model_construct(kind="sound")
    sounds = shipped.model_copy(update={"recipe": recipe})

    def sizes(**given: int) -> tuple[int, int]:
        found = resolve(Method.FULL, "audio-classification", sounds, 100, given)
        return found.batch_size, found.accumulation

    batch, accumulation = sizes()
    assert accumulation > 1
    assert sizes(batch_size=batch * accumulation) == (batch * accumulation, 1)
    assert sizes(batch_size=8, accumulation=3) == (8, 3)
    assert sizes(accumulation=3) == (batch, 3)
