"""Which bases fit which data: task and method are chosen or checked, and a misfit is rejected with its field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from model_zoo.cards.card import Architecture, Card
from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.catalog import Catalog
from service.datasets.dataset import ColumnInfo, DatasetInfo, DatasetKind, DatasetReport
from service.errors import InvalidInput
from service.training.compatibility import check_before_upload, plan
from service.training.job_spec import JobSpec, Method
from tests.support.references.onnx_cards import tensors_card

CATALOG = Catalog.from_package()
CLASSES = ("a", "b")


def data(kind: str, labels: tuple[str, ...] = (), examples: int = 100) -> DatasetInfo:
    return DatasetInfo(
        id="0" * 32,
        kind=DatasetKind(kind),
        sha256="0" * 64,
        size_bytes=1,
        labels=labels,
        report=DatasetReport(examples=examples),
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
        ("nanodet", "boxes", ("nut",), "object-detection", "full"),
        ("efficientnet_lite0", "masks", CLASSES, "image-segmentation", "full"),
        ("mobilenetv2_100", "masks", CLASSES, "image-segmentation", "full"),
        ("speech_music", "audio_folder", CLASSES, "audio-classification", "head"),
        ("tabular_mlp", "table", CLASSES, "tabular-classification", "full"),
        ("tabular_mlp", "table", (), "tabular-regression", "full"),
        ("series_gru", "series", (), "time-series-forecasting", "full"),
    ],
)
def test_plan_without_task_and_method_chooses_them(
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
        ("efficientnet_lite0", "boxes", CLASSES, {}, "spec.base", "does not learn boxes; use 'nanodet'"),
        ("nanodet", "image_folder", CLASSES, {}, "spec.base", "learns from pictures with boxes, and the data set"),
        ("nanodet", "boxes", CLASSES, {"method": "head"}, "spec.method", "a detector learns in all its layers"),
        ("nanodet", "masks", CLASSES, {}, "spec.base", "learns from pictures with boxes, and the data set"),
        ("fashion_cnn", "masks", CLASSES, {}, "spec.base", "does not learn masks; use 'efficientnet_lite0'"),
        ("efficientnet_lite0", "masks", CLASSES, {"method": "head"}, "spec.method", "reads maps of all sizes"),
        ("efficientnet_lite0", "masks", ("a",), {}, "spec.dataset_id", "at least 2 classes, got only 'a'"),
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
def test_plan_with_misfit_names_the_field(
    name: str, kind: str, labels: tuple[str, ...], more: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        planned(name, data(kind, labels), **more)
    assert caught.value.field == field
    assert says in caught.value.problem


def test_encoder_without_vectors_of_tokens_does_not_learn_spans() -> None:
    """The encoder of texts of a network that matches images with texts pools them itself."""
    shipped = base("all_minilm_l6_v2")
    arguments = {**shipped.architecture.arguments, "auto_class": "AutoModelForZeroShotImageClassification"}
    tower = shipped.model_copy(update={"architecture": Architecture(builder="transformers_auto", arguments=arguments)})
    spans = data("spans", CLASSES)
    with pytest.raises(InvalidInput, match=r"^spec.base: .* gives a vector for a whole text, none for each token"):
        plan(tower, spans, JobSpec(base=tower.name, dataset_id=spans.id, model="mine"))
    assert planned("all_minilm_l6_v2", spans).task == "token-classification"
    assert plan(tower, data("text", CLASSES), JobSpec(base=tower.name, dataset_id="0" * 32, model="mine"))


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
        ("nanodet", "", {"task": "image-classification"}, "spec.task", "cannot learn 'image-classification'"),
        ("nanodet", "image_folder image_table", {}, "spec.base", "learns from pictures with boxes"),
        ("tabular_mlp", "", {"method": Method.HEAD}, "spec.method", "no trained weights"),
        ("efficientnet_lite0", "", {"hyperparameters": {"epoch": 3}}, "spec.hyperparameters.epoch", "did you mean epochs"),
        ("efficientnet_lite0", "", {"hyperparameters": {"epochs": 0}}, "spec.hyperparameters.epochs", "at least 1"),
        ("char_lstm", "", {"hyperparameters": {"rank": 4}}, "spec.hyperparameters.rank", "has no meaning"),
    ],
)  # fmt: skip
def test_check_before_upload_of_impossible_spec_is_rejected(
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
        ("efficientnet_lite0", {"hyperparameters": {"class_weights": "balanced"}}),  # not for regression
        ("char_lstm", {"hyperparameters": {"batch_size": 8}}),  # not for method head; but plain text has another method
        ("char_lstm", {"method": Method.HEAD}),  # not for plain text
        ("series_gru", {"hyperparameters": {"horizon": 12}}),
        ("nanodet", {"task": "object-detection", "hyperparameters": {"augmentation": "none"}}),
        ("efficientnet_lite0", {"task": "image-segmentation", "hyperparameters": {"backbone_rate": 0.5}}),
    ],
)
def test_check_before_upload_of_possible_spec_is_accepted(name: str, asked: dict[str, Any]) -> None:
    check_before_upload(base(name), JobSpec(base=name, dataset_id="", model="mine", **asked))
    check_before_upload(base(name), JobSpec(base=name, dataset_id="", model="mine", **asked), list(DatasetKind))


def test_onnx_network_is_no_base_whatever_it_takes() -> None:
    card = tensors_card((("x", "FP32", (-1, 4)),), TensorsRecipe(kind="tensors"))
    info = data("table", CLASSES)
    with pytest.raises(InvalidInput, match="it is an ONNX file, whose weights ONNX Runtime does not train") as refused:
        plan(card, info, JobSpec(base="tiny", dataset_id=info.id, model="mine"))
    assert refused.value.field == "spec.base"


@pytest.mark.parametrize("task", ["fill-mask", "object-detection"])
def test_network_without_features_of_a_whole_input_is_no_base(task: str) -> None:
    card = base("all_minilm_l6_v2").model_copy(update={"task": task})
    with pytest.raises(InvalidInput, match="it has no features that a head could use"):
        check_before_upload(card, JobSpec(base="mine", dataset_id="", model="mine"))


def test_network_that_has_learned_pictures_with_columns_is_no_base_and_names_another() -> None:
    with pytest.raises(InvalidInput, match="such as 'fashion_cnn', learns them with any columns") as refusal:
        check_before_upload(base("fashion_price"), JobSpec(base="fashion_price", dataset_id="", model="mine"))
    assert refusal.value.field == "spec.base"
    assert planned("fashion_cnn", data("image_table")).method is Method.HEAD


def test_table_with_other_columns_than_a_trained_network_has_learned_is_refused() -> None:
    known = data("table").model_copy(
        update={"inputs": tuple(ColumnInfo(name=name, kind="number") for name in ("living_area", "year_built"))}
    )
    assert planned("house_mlp", known).method is Method.HEAD
    other = known.model_copy(update={"inputs": (*known.inputs, ColumnInfo(name="pool", kind="number"))})
    with pytest.raises(
        InvalidInput, match=r"house_mlp.* has learned the columns living_area, .*use 'tabular_mlp'"
    ) as refusal:
        planned("house_mlp", other)
    assert refusal.value.field == "spec.base"
    assert "the data set has pool; use" in str(refusal.value)
    assert planned("tabular_mlp", other).method is Method.FULL
