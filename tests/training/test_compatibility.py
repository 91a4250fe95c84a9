"""What can be tuned on what: chosen where the user leaves it open, refused with a sentence where it cannot be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from service.datasets.dataset import DatasetInfo, DatasetKind, Report
from service.errors import InvalidInput
from service.training.compatibility import check_before_upload, plan
from service.training.hyperparameters import Hyperparameters, applicable, bounds_of, default_values, resolve
from service.training.job_spec import JobSpec, Method

CATALOG = Catalog.from_package()
CLASSES = ("a", "b")


def data(kind: str, labels: tuple[str, ...] = (), examples: int = 100) -> DatasetInfo:
    return DatasetInfo(
        id="0" * 32,
        kind=DatasetKind(kind),
        sha256="0" * 64,
        size_bytes=1,
        labels=labels,
        report=Report(examples=examples),
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def base(name: str) -> Card:
    return CATALOG.get(name)


def planned(name: str, info: DatasetInfo, **more: Any) -> JobSpec:
    return plan(base(name), info, JobSpec(base=name, dataset_id=info.id, model="mine", **more))


@pytest.mark.parametrize(
    ("name", "kind", "labels", "task", "method"),
    [
        ("efficientnet_lite0", "image_folder", CLASSES, "image-classification", "head"),
        ("mobilenetv2_100", "image_folder", CLASSES, "image-classification", "head"),
        ("efficientnet_lite0", "image_folder", (), "regression", "head"),
        ("efficientnet_lite0", "image_table", (), "image-tabular-regression", "head"),
        ("all_minilm_l6_v2", "text", CLASSES, "text-classification", "head"),
        ("all_minilm_l6_v2", "text", (), "regression", "head"),
        ("char_lstm", "text", CLASSES, "text-classification", "head"),
        ("char_lstm", "plain_text", (), "text-generation", "full"),
        ("speaker_lstm", "audio_folder", CLASSES, "audio-classification", "head"),
        ("tabular_mlp", "table", CLASSES, "tabular-classification", "full"),
        ("tabular_mlp", "table", (), "tabular-regression", "full"),
        ("series_gru", "series", (), "time-series-forecasting", "full"),
    ],
)
def test_task_and_method_follow_from_base_and_data(
    name: str, kind: str, labels: tuple[str, ...], task: str, method: str
) -> None:
    spec = planned(name, data(kind, labels))
    assert (spec.task, spec.method.value) == (task, method)


@pytest.mark.parametrize(
    ("name", "kind", "labels", "more", "field", "says"),
    [
        (
            "all_minilm_l6_v2",
            "image_folder",
            CLASSES,
            {},
            "spec.base",
            "learns from texts, and the data set holds pictures",
        ),
        ("efficientnet_lite0", "plain_text", (), {}, "spec.base", "pictures"),
        ("all_minilm_l6_v2", "plain_text", (), {}, "spec.base", "plain text"),
        ("silero_vad", "audio_folder", CLASSES, {}, "spec.base", "cannot be fine-tuned"),
        ("efficientnet_lite0", "image_table", CLASSES, {}, "spec.dataset_id", "must be a number"),
        ("efficientnet_lite0", "image_folder", ("cat",), {}, "spec.dataset_id", "at least 2 classes, got only 'cat'"),
        (
            "efficientnet_lite0",
            "image_folder",
            CLASSES,
            {"task": "image-clasification"},
            "spec.task",
            "did you mean 'image-classification'?",
        ),
        ("efficientnet_lite0", "image_folder", CLASSES, {"task": "regression"}, "spec.task", "expected 'image-class"),
        ("tabular_mlp", "table", CLASSES, {"method": "head"}, "spec.method", "no trained weights"),
        ("efficientnet_lite0", "image_folder", CLASSES, {"method": "lora"}, "spec.method", "no Transformer"),
        ("char_lstm", "plain_text", (), {"method": "head"}, "spec.method", "expected 'full'"),
        (
            "efficientnet_lite0",
            "image_folder",
            CLASSES,
            {"method": "full", "hyperparameters": {"learning_rat": 1}},
            "spec.hyperparameters.learning_rat",
            "did you mean learning_rate",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(
    name: str, kind: str, labels: tuple[str, ...], more: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        planned(name, data(kind, labels), **more)
    assert caught.value.field == field
    assert says in caught.value.problem


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
def test_a_value_out_of_bounds_is_refused_with_what_was_expected_and_what_came(
    name: str, value: object, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(Method.FULL, "image-classification", base("efficientnet_lite0"), 100, {name: value})
    assert caught.value.field.startswith("spec.hyperparameters.")
    assert says in caught.value.problem
    assert len(str(caught.value)) < 700


def test_a_rate_far_too_high_is_the_users_to_try() -> None:
    hparams = resolve(Method.FULL, "tabular-regression", base("tabular_mlp"), 100, {"learning_rate": 1e9})
    assert hparams.learning_rate == 1e9


def test_whole_numbers_may_come_as_floats_and_auto_as_a_word() -> None:
    """As they do in a protobuf Struct."""
    hparams = resolve(
        Method.FULL, "image-classification", base("efficientnet_lite0"), 100, {"epochs": 3.0, "batch_size": "auto"}
    )
    assert hparams.epochs == 3
    assert hparams.batch_size == 16


@pytest.mark.parametrize("name", sorted(Hyperparameters.model_fields))
def test_every_hyperparameter_can_say_its_bounds_and_belongs_to_some_job(name: str) -> None:
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
def test_automatic_values_are_within_their_own_bounds(method: Method, task: str, name: str, examples: int) -> None:
    assert resolve(method, task, base(name), examples, {})
    assert default_values(method, task, base(name), examples)


# ── before there are data ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "kinds", "asked", "field", "says"),
    [
        ("silero_vad", "", {}, "spec.base", "cannot be fine-tuned"),
        ("all_minilm_l6_v2", "image_folder", {}, "spec.base", "learns from texts, and the data set holds pictures"),
        ("speaker_lstm", "text table", {}, "spec.base", "learns from sounds, and the data set holds texts or a table"),
        ("efficientnet_lite0", "", {"task": "text-classification"}, "spec.task", "cannot learn 'text-classification'"),
        ("efficientnet_lite0", "", {"task": "image-clasification"}, "spec.task", "did you mean 'image-classification'"),
        ("char_lstm", "text", {"task": "text-generation"}, "spec.task", "cannot learn"),
        ("efficientnet_lite0", "", {"method": Method.LORA}, "spec.method", "is no Transformer"),
        ("tabular_mlp", "", {"method": Method.HEAD}, "spec.method", "no trained weights"),
        ("efficientnet_lite0", "", {"hyperparameters": {"epoch": 3}}, "spec.hyperparameters.epoch", "did you mean epochs"),
        ("efficientnet_lite0", "", {"hyperparameters": {"epochs": 0}}, "spec.hyperparameters.epochs", "at least 1"),
        ("char_lstm", "", {"hyperparameters": {"rank": 4}}, "spec.hyperparameters.rank", "has no meaning"),
    ],
)  # fmt: skip
def test_what_no_data_could_mend_is_refused_before_there_are_any(
    name: str, kinds: str, asked: dict[str, Any], field: str, says: str
) -> None:
    spec = JobSpec(base=name, dataset_id="", model="mine", **asked)
    with pytest.raises(InvalidInput, match=says) as caught:
        check_before_upload(base(name), spec, [DatasetKind(kind) for kind in kinds.split()])
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("efficientnet_lite0", {}),
        ("efficientnet_lite0", {"task": "image-tabular-regression", "hyperparameters": {"epochs": 3}}),
        ("efficientnet_lite0", {"method": Method.FULL, "hyperparameters": {"augmentation": "strong"}}),
        ("efficientnet_lite0", {"hyperparameters": {"class_weights": "balanced"}}),  # of no regression
        ("char_lstm", {"hyperparameters": {"batch_size": 8}}),  # of no head: but for plain text, the method is another
        ("char_lstm", {"method": Method.HEAD}),  # not for plain text
        ("series_gru", {"hyperparameters": {"horizon": 12}}),
    ],
)
def test_what_some_data_would_fit_is_not_refused_before_they_come(name: str, asked: dict[str, Any]) -> None:
    check_before_upload(base(name), JobSpec(base=name, dataset_id="", model="mine", **asked))
    check_before_upload(base(name), JobSpec(base=name, dataset_id="", model="mine", **asked), list(DatasetKind))
