"""Golden cases over the wire are judged as the server judges them when it loads a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import EmbeddingExpectation, GoldenCase, TextPair, golden_path
from service import types
from service.cli.golden_calls import NAMES, _value, answer_of, run_case
from service.client import PredictionError, results
from service.client.results import Classification, Embedding, Result, Tensors, TransformedImage
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask
from service.tasks.embedding import EmbeddingAnswers
from service.tasks.image.image_input import ImageInput
from service.tasks.image.image_tabular_regression import ImageTabularRegression
from service.tasks.image.image_to_image import ImageToImage
from service.tasks.regression import NumberAnswers
from service.tasks.tabular.tabular_prediction import TabularPrediction

CARD = Catalog.from_package().get("efficientnet_lite0")
CASE = CARD.golden[0]
COMMON: dict[str, Any] = {"model": CARD.name, "version": 1, "timing": types.Timing()}


def classification(name: str, score: float) -> Classification:
    return Classification(**COMMON, labels=(types.Label(282, name, score),))


def run(result: Any, case: GoldenCase = CASE, answers: Any = LabelAnswers) -> tuple[Any, list[Any]]:
    asked: list[Any] = []

    def ask(inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        asked.extend([inputs, options])
        return result if isinstance(result, list) else [result]

    return run_case(ComposedTask(ImageInput, answers, CARD, ("cat",)), case, ask), asked


def test_right_answer_has_figures_and_no_problem() -> None:
    label = CASE.expect.label  # type: ignore[union-attr]
    outcome, asked = run(classification(label, 0.9))
    assert (outcome.problem, outcome.input) == ("", CASE.input.file)
    assert outcome.figures.startswith(f"{label} 0.900, at least ")
    assert asked == [[golden_path(CASE.input.file or "").read_bytes()], {}]


def test_options_of_the_task_are_those_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    options = types.Options(max_new_tokens=1, temperature=0.0)
    monkeypatch.setattr(ComposedTask, "golden_options", lambda self: options)
    _, asked = run(classification("cat", 0.9))
    assert asked[1] == {"max_new_tokens": 1, "temperature": 0.0}


def test_pair_of_texts_is_asked_as_the_sdk_takes_it() -> None:
    pair = types.TextPairInstance(b"one", b"two", ("ranking.query", "ranking.documents[0]"))
    assert _value(pair) == {"text": "one", "text_pair": "two"}


def test_wrong_answer_is_a_problem_with_figures() -> None:
    outcome, _ = run(classification("dog", 0.9))
    assert "got 'dog' with 0.900" in outcome.problem


@pytest.mark.parametrize(
    "result", [PredictionError("the queue is full", code="RESOURCE_EXHAUSTED"), Tensors(**COMMON, tensors={})]
)
def test_no_answer_or_one_of_another_kind_is_a_problem(result: Any) -> None:
    outcome, _ = run(result)
    assert outcome.figures == ""
    assert outcome.problem in ("the queue is full", "the answer is of another kind (Tensors)")
    assert run(Embedding(**COMMON, values=np.zeros(3, np.float32)))[0].problem.startswith(
        "the answer is of another kind"
    )


def test_texts_that_are_compared_are_asked_in_the_same_call() -> None:
    expect = EmbeddingExpectation(values=(1.0,), tolerance=0.1, pairs=(TextPair(text="other", at_least=0.9),))
    case = CASE.model_copy(update={"expect": expect})
    one, other = (Embedding(**COMMON, values=np.array(v, np.float32)) for v in ([1.0, 0.0], [0.0, 1.0]))
    outcome, asked = run([one, other], case, EmbeddingAnswers)
    assert asked[0][1:] == ["other"]
    assert "likeness to 'other' is 0.000" in outcome.problem
    assert outcome.figures == "off by 0, allowed 0.1"


ANSWERS = [kind for kind in vars(results).values() if isinstance(kind, type) and issubclass(kind, Result)]


@pytest.mark.parametrize("kind", [kind for kind in ANSWERS if kind is not Result])
def test_each_result_of_the_sdk_is_an_answer_of_the_server(kind: type[Result]) -> None:
    """`answer_of` relies on equal names and fields."""
    answer: Any = getattr(types, NAMES.get(kind.__name__, kind.__name__))
    assert set(answer.__dataclass_fields__) <= set(kind.__dataclass_fields__)


def test_answer_keeps_the_values_of_the_result() -> None:
    assert answer_of(classification("cat", 0.5)) == types.Classification((types.Label(282, "cat", 0.5),))


def test_row_and_series_are_asked_as_the_sdk_takes_them() -> None:
    assert _value(types.RowInstance({"area": 70.0, "town": None})) == {"area": 70.0, "town": None}
    assert _value(types.SeriesInstance(np.ones((3, 1)))).tolist() == [[1.0]] * 3


def test_record_is_asked_as_the_sdk_takes_it_and_named_by_both_parts() -> None:
    card = Catalog.from_package().get("fashion_price")
    case = card.golden[0]
    asked: list[Any] = []

    def ask(inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        asked.extend(inputs)
        return [results.Regression(**COMMON, value=case.expect.number + 1e6)]  # type: ignore[union-attr]

    outcome = run_case(ImageTabularRegression(card), case, ask)
    assert asked == [{"image": golden_path(case.input.file or "").read_bytes(), "row": case.input.row}]
    assert outcome.input.startswith(f"{case.input.file} with age_years ")
    assert outcome.problem.startswith("expected ")


def test_number_and_forecast_are_judged_and_shown() -> None:
    house = Catalog.from_package().get("house_mlp")
    case = house.golden[0]
    expected = case.expect.number  # type: ignore[union-attr]

    def ask(inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        return [results.Regression(**COMMON, value=expected)]

    outcome = run_case(TabularPrediction(NumberAnswers, house), case, ask)
    assert outcome.problem == ""
    assert outcome.input.startswith("living_area ")
    assert outcome.figures == f"{expected:,.6g}, expected {expected:,.6g}"


def test_kernel_of_a_case_is_an_option_of_the_call_and_the_image_its_input() -> None:
    card = Catalog.from_package().get("image_filter")
    case = next(case for case in card.golden if case.input.kernel)
    asked: list[Any] = []

    def ask(inputs: list[Any], options: dict[str, Any]) -> list[Any]:
        asked.extend([inputs, options])
        return [TransformedImage(**COMMON, image=b"png", width=1, height=1)]

    outcome = run_case(ImageToImage(card), case, ask)
    assert asked == [[golden_path(case.input.file or "").read_bytes()], {"kernel": case.input.kernel}]
    assert outcome.input == f"{case.input.file} by {case.input.kernel}"
    assert outcome.problem.endswith("pixels, got 1 × 1")
